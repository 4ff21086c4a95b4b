"""Real servers with faults, for tests and benchmarks."""
