"""The invariants I1 to I8, held against random interleavings of everything that happens to a key."""
