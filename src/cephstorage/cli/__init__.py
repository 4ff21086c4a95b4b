"""The command line: serve, and a client of the HTTP API."""
