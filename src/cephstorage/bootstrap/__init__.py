"""The composition root: the only place that chooses adapters; owns start and stop."""
