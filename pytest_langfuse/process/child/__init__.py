"""Modules on the `PYTHONPATH` of a test's Python processes. They import only the standard library at start-up."""
