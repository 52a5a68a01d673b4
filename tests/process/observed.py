"""Shared by the tests of this folder."""


def names(count: int = 10, prefix: str = "s") -> list[str]:
    """What `observe` has made."""
    return sorted(f"{prefix}{number}" for number in range(count))
