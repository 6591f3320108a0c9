"""From a table to a front of fitted formulas: grammar, sampling, constants."""
