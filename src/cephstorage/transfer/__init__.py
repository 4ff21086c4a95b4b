"""The transfer engine: source, spool, readers, verification, landing."""
