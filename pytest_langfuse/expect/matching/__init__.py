"""Matching captured observations with a literal, and aligning the two where they differ."""
