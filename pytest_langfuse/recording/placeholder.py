"""Keys that stand in for missing ones, so that a client can be built where no secrets are (CI)."""

PLACEHOLDER_PUBLIC_KEY = "pk-lf-pytest"
PLACEHOLDER_SECRET_KEY = "sk-lf-pytest"  # noqa: S105 - a placeholder, not a secret
