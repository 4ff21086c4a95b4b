"""The stores, each for what only it does."""
