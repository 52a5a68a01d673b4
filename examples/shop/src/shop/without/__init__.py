"""Parts of the shop with Langfuse's SDK alone. Each has one mistake that is easily made, and made often."""
