"""One suite for every index: each test runs once per factory in ``conftest``."""
