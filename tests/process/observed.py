"""Shared by the tests of this folder."""

#: Nothing is sent before the end by itself: what arrives was sent because the process ended.
LATER = {"LANGFUSE_FLUSH_AT": "500", "LANGFUSE_FLUSH_INTERVAL": "600", "LANGFUSE_TIMEOUT": "5"}


def names(count: int = 10, prefix: str = "s") -> list[str]:
    """What `observe` has made."""
    return sorted(f"{prefix}{number}" for number in range(count))
