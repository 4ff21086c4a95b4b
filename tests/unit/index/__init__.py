"""The index's pure parts, and SQLite's own."""
