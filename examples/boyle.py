"""Boyle's law from his own readings of 1662."""

from study import study

if __name__ == "__main__":
    study("boyle", known="pressure_inches = constant / volume_spaces")
