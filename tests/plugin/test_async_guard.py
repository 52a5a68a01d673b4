"""The production module's breaker guards the asynchronous API under capture, too."""

import pytest

# Slow: waits for the SDK's own retries.
pytestmark = pytest.mark.slow


def test_the_breaker_stops_asynchronous_calls(app: pytest.Pytester) -> None:
    app.makepyfile("""
        import asyncio
        import pytest
        from pytest_langfuse.tracing import CircuitOpen, tracing_health

        def test_async(langfuse_tracing, langfuse_outage):
            client = langfuse_tracing(breaker_failure_threshold=2)

            async def ask():
                for _ in range(2):
                    with pytest.raises(Exception):
                        await client.async_api.health.health(request_options={"max_retries": 0})
                with pytest.raises(CircuitOpen):
                    await client.async_api.health.health()

            with langfuse_outage("reset") as outage:
                asyncio.run(ask())
                assert tracing_health().breaker == "open"
                assert outage.attempts >= 2
    """)
    app.runpytest().assert_outcomes(passed=1)
