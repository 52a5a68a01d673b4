"""Secrets in text: patterns of issuers' keys, and what looks like one but is an example."""
