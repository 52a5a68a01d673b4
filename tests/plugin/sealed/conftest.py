"""A second server that plays the real Langfuse, beside pytester's folder."""

from collections.abc import Iterator

import pytest

from tests.plugin.sealed.real_langfuse import RealLangfuse, real_langfuse


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealLangfuse]:
    """The real Langfuse, named by the environment with real keys."""
    with real_langfuse() as server:
        monkeypatch.setenv("LANGFUSE_BASE_URL", server.url)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-real")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-real")
        # What a machine that really sends would wait for; a test that must not send need not.
        monkeypatch.setenv("LANGFUSE_TIMEOUT", "2")
        yield server
