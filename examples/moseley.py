"""Moseley's law from the X-rays of ten elements, 1913."""

from study import study

if __name__ == "__main__":
    study("moseley", known="wavelength_angstrom = 1215 / (atomic_number - 1)^2")
