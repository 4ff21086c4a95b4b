"""One suite for every store: each test runs once per factory in ``conftest``."""
