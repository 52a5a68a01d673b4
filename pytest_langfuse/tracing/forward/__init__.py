"""`pytest-langfuse-forward`: drains a queue of export bodies into Langfuse, at least once."""
