"""Through a real edge: nginx as the product renders and runs it."""
