"""Assertions on what Langfuse would show: a tree literal, its match with the captured trees, and the failure text."""
