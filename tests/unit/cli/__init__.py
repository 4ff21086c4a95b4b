"""The command line and its client: the pure parts."""
