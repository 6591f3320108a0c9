"""The search by PySR."""
