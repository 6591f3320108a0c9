"""Kepler's third law from the eight planets."""

from study import study

if __name__ == "__main__":
    study("planets", known="period_years = semi_major_axis_au ^ 1.5")
