"""Search engines that start from the Transformer's formulas."""
