"""What is fitted: one table, and the units it is searched in."""
