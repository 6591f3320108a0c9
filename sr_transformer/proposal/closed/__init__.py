"""Formulas in closed form: one module a family."""

from sr_transformer.proposal.closed.families import closed_form_candidates, is_settled

__all__ = ["closed_form_candidates", "is_settled"]
