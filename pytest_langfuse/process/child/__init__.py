"""What a Python process of a test has on its `PYTHONPATH`; the standard library is all that it may import."""
