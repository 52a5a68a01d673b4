"""Settings of the service from environment variables. `init_tracing` reads Langfuse's own variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """Settings of the service; times are seconds."""

    openai_api_key: str = field(repr=False)
    #: Base URL of the order service.
    orders_url: str
    model: str = "gpt-4o-mini"
    #: For one request to OpenAI or to the order service.
    timeout: float = 20.0
    #: At the end, for traces that Langfuse has not taken yet.
    shutdown_timeout: float = 5.0

    @classmethod
    def from_environment(cls, variables: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings. Raise `RuntimeError`, which names them, if some are missing."""
        missing = [name for name in ("OPENAI_API_KEY", "ORDERS_URL") if not variables.get(name)]
        if missing:
            raise RuntimeError(f"set {' and '.join(missing)} in the environment")
        return cls(
            openai_api_key=variables["OPENAI_API_KEY"],
            orders_url=variables["ORDERS_URL"].rstrip("/"),
            model=variables.get("SUPPORT_BOT_MODEL", cls.model),
            timeout=float(variables.get("SUPPORT_BOT_TIMEOUT", cls.timeout)),
            shutdown_timeout=float(variables.get("SUPPORT_BOT_SHUTDOWN_TIMEOUT", cls.shutdown_timeout)),
        )
