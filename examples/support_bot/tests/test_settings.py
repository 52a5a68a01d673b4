"""Settings come from the environment."""

from __future__ import annotations

import pytest

from support_bot.settings import Settings


def test_missing_settings_are_named() -> None:
    with pytest.raises(RuntimeError, match="set OPENAI_API_KEY and ORDERS_URL in the environment"):
        Settings.from_environment({})


def test_settings() -> None:
    variables = {
        "OPENAI_API_KEY": "sk-made-up",
        "ORDERS_URL": "https://orders.example/",
        "SUPPORT_BOT_TIMEOUT": "3",
        "SUPPORT_BOT_SHUTDOWN_TIMEOUT": "2",
    }
    settings = Settings.from_environment(variables)
    assert settings == Settings(
        openai_api_key="sk-made-up", orders_url="https://orders.example", timeout=3.0, shutdown_timeout=2.0
    )
    assert "sk-made-up" not in repr(settings)
