"""A small synchronous client of the CephStorage HTTP API; it imports nothing of the service."""
