"""One request makes one tree: on each framework, with OpenTelemetry's instrumentations inside, outside and without."""

import logging

import pytest

from pytest_langfuse.tracing import tracing_health
from tests.helpers import traced_sites
from tests.helpers.traced_sites import ORDERS, SITES, TREE

# Slow: starts servers.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Inheritance class _InstrumentedApplication:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def _no_settings():
    """Those of the capture stay."""


@pytest.mark.parametrize("call", [traced_sites.served, traced_sites.called], ids=["served", "test client"])
@pytest.mark.parametrize(
    ("site", "order"),
    # OpenTelemetry's middleware for aiohttp takes the request's parent from its headers alone; it belongs outside, and
    # that is where its instrumentor puts it.
    [(site, order) for site in SITES for order in ORDERS if (site, order) != ("aiohttp", "inside")],
)
def test_one_tree(langfuse_tracing, langfuse_spans, caplog, site, order, call):
    langfuse_tracing(propagate_to=("127.0.0.1",))
    caplog.set_level(logging.WARNING)
    with traced_sites.surroundings(order) as work:
        assert call(site, SITES[site](order, work)) == ("3" if not site.startswith("fastapi") else '"3"')

    langfuse_spans.wait_for(count=5)
    langfuse_spans.assert_tree(TREE)
    assert [one.name for one in langfuse_spans if one.is_root] == ["GET /items/{i}"]
    assert tracing_health().reparented >= 2
    assert [record.getMessage() for record in caplog.records if record.name.startswith("pytest_langfuse")] == []
