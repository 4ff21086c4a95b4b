"""The HTTP origin behind its port, and the guard that every connection passes."""
