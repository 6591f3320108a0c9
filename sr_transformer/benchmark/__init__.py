"""A fair comparison: the same tables and the same seconds for every method."""
