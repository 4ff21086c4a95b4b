"""The mirror beside what a user would pick instead: the same origin, the same requests, one table."""
