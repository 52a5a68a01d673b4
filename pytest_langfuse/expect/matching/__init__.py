"""Whether captured observations match a literal, and how they align where they do not."""
