"""The way of a span from its end to Langfuse's confirmation, and the account of it."""
