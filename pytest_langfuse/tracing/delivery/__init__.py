"""What becomes of a span from its end to Langfuse's yes, and what is known of it meanwhile."""
