"""Measurements: known laws, rivals, checkpoints."""
