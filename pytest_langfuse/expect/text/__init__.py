"""Literals, failures and differences as text."""
