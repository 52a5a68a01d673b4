"""A bot that works as long as Langfuse does."""
