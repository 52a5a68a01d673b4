"""Parts of the shop with Langfuse's SDK alone. Each has one common mistake."""
