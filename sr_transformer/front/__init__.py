"""Candidates, the Pareto front, and the choice among them."""
