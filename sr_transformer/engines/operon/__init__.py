"""The search by Operon."""
