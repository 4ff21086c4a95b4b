"""The API: the pure parts."""
