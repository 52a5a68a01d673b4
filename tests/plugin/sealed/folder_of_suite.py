"""The folder of a suite that is run against a second server in the role of the real Langfuse."""

import os
from collections.abc import Iterator

import pytest

from tests.helpers.loopback_langfuse import Collector

_PROXIES = ("NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def real() -> Iterator[Collector]:
    """A server in the role of the real Langfuse."""
    collector = Collector()
    yield collector
    collector.close()


def folder_of_suite(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, real: Collector, **modules: str
) -> pytest.Pytester:
    """Return pytester's folder with `modules`. The environment names the real Langfuse, and no proxy.

    Of plugins, a run has this package's and xdist.
    """
    for name in list(os.environ):
        if name.startswith(("LANGFUSE_", "OTEL_")) or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_langfuse.plugin,xdist.plugin")
    monkeypatch.setenv("LANGFUSE_BASE_URL", real.url)
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-real")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-real")
    pytester.makepyfile(**modules)
    pytester.syspathinsert()
    return pytester
