"""The edge, without a network: its configuration as text, and the process that keeps nginx running."""
