"""Hubble's law from his 24 nebulae of 1929: two noisy columns, one honest line."""

from study import study

if __name__ == "__main__":
    study("hubble", known="velocity_km_s = constant * distance_mpc")
