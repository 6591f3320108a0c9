"""Galileo's square root from five falls of 1608."""

from study import study

if __name__ == "__main__":
    study("galileo", known="distance_punti = constant * sqrt(height_punti)")
