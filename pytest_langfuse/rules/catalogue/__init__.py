"""The rules: a module each, named after its code."""
