"""Mistakes with Langfuse's SDK alone, their failure messages, and the shop without them."""

from __future__ import annotations

import signal

import httpx
import pytest
from processes import PATIENCE, Shop

from pytest_langfuse import Observations

BASKET = {"skus": ["mug", "tea"]}


def unfolded(error: BaseException) -> str:
    """Return a message in one line: long sentences are folded to the width of the terminal."""
    return " ".join(str(error).split())


def check_out(shop: Shop, gateway_app: str) -> None:
    """Order something through a gateway."""
    orders = shop.orders()
    gateway = shop.gateway(gateway_app, ORDERS_URL=orders.url)
    shop.wait_ready(orders, gateway)
    with shop.customer(gateway, user="u-1", session="s-1") as customer:
        assert customer.post("/checkout", json=BASKET).status_code == 200
    # SIGINT, as from Ctrl-C: with it, the plain SDK loses nothing either.
    gateway.interrupt()
    gateway.wait(PATIENCE)
    shop.stop(orders)


def test_a_header_is_not_passed_on(shop: Shop, langfuse_spans: Observations) -> None:
    check_out(shop, "shop.without.header:app")

    with pytest.raises(AssertionError) as split:
        langfuse_spans.assert_single_trace()
    assert unfolded(split.value) == (
        "2 traces, expected one (was the context lost in a thread or task, or a header not passed on?): "
        "checkout: 1 observation starting with span checkout "
        "POST /orders: 4 observations starting with span POST /orders"
    )
    with pytest.raises(AssertionError) as missing:
        langfuse_spans.assert_propagated("user_id")
    assert "user_id in trace POST /orders: not set on POST /orders, stock (2 times), thank" in unfolded(missing.value)


def test_a_thread_without_context(shop: Shop, langfuse_spans: Observations) -> None:
    orders = shop.orders("shop.without.context:app")
    shop.wait_ready(orders)
    assert httpx.post(f"{orders.url}/orders", json=BASKET, trust_env=False).is_success
    shop.stop(orders)

    with pytest.raises(AssertionError) as split:
        langfuse_spans.assert_single_trace()
    assert unfolded(split.value) == (
        "3 traces, expected one (was the context lost in a thread or task, or a header not passed on?): "
        "order: 1 observation starting with span order "
        "stock (1 of 2): 1 observation starting with retriever stock "
        "stock (2 of 2): 1 observation starting with retriever stock"
    )


def test_the_shop_passes_on_both(shop: Shop, langfuse_spans: Observations) -> None:
    check_out(shop, "shop.gateway:create_app")

    langfuse_spans.assert_single_trace()
    langfuse_spans.assert_propagated("user_id", value="u-1")
    langfuse_spans.assert_contains("""
        span "POST /checkout"
          span "POST /orders"
            2x retriever stock
            ...
    """)


def search(shop: Shop, gateway_app: str) -> list[str]:
    """Search for something, stop the gateway as a deployment does, and return the names of lost observations."""
    gateway = shop.gateway(gateway_app)
    shop.wait_ready(gateway)
    assert httpx.get(f"{gateway.url}/products?q=mug", trust_env=False).json() == ["mug"]
    shop.stop(gateway)
    # With and without tracing, the exit status is that of a terminated server.
    assert gateway.returncode == -signal.SIGTERM
    return [observation.name for observation in gateway.lost]


def test_a_sigterm_without_shutdown(shop: Shop, langfuse_spans: Observations) -> None:
    assert search(shop, "shop.without.shutdown:app") == ["products", "search"]

    with pytest.raises(AssertionError) as lost:
        langfuse_spans.assert_flushed()
    why = "`python -m uvicorn shop.without.shutdown:app` was terminated by SIGTERM before the observation arrived"
    message = unfolded(lost.value).replace(" --port '{port}'", "")
    assert message.startswith(f"2 observations were not delivered: `products`, `search`: {why}")


def test_the_shop_loses_nothing(shop: Shop, langfuse_spans: Observations) -> None:
    assert search(shop, "shop.gateway:create_app") == []

    langfuse_spans.assert_flushed()
    langfuse_spans.assert_tree("""
        span "GET /products"
          retriever search  output=["mug"]
    """)
