"""Formulas in closed form: one module a family."""
