"""The data plane: mirrors and published URLs, as raw ASGI."""
