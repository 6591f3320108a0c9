"""Leavitt's law of the Cepheids from her 25 stars of 1912."""

from study import study

if __name__ == "__main__":
    study("leavitt", known="magnitude_at_maximum = a - b * log(period_days)")
