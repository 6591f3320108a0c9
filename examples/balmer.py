"""Balmer's formula from eight lines of hydrogen."""

from study import study

if __name__ == "__main__":
    study("balmer", known="wavelength_nm = 364.6 * upper_level^2 / (upper_level^2 - 4)")
