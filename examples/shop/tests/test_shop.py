"""A request through three processes, which is one trace."""

from __future__ import annotations

from fake_openai import FakeOpenAI
from processes import PATIENCE, Shop

from pytest_langfuse import Observations

#: Forged headers, which any browser can send.
CLAIMS = {
    "x-user-id": "u-2",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "baggage": "langfuse_user_id=u-2,langfuse_session_id=s-2",
}


def test_one_trace_over_gateway_orders_and_worker(
    shop: Shop, openai_api: FakeOpenAI, langfuse_spans: Observations
) -> None:
    worker, orders = shop.worker(), shop.orders()
    gateway = shop.gateway(ORDERS_URL=orders.url)
    shop.wait_ready(orders, gateway)

    with shop.customer(gateway, user="u-1", session="s-1") as customer:
        response = customer.post("/checkout", json={"skus": ["mug", "tea"]}, headers=CLAIMS)
    assert response.status_code == 200, response.text
    worker.wait_for_output(f"shipped {response.json()['order']}", timeout=PATIENCE)
    shop.stop(gateway, orders, worker)

    langfuse_spans.assert_tree(
        """
        * user_id=u-1 session_id=s-1 environment=production release=2.1.0 level=DEFAULT
        span "POST /checkout"     output.status_code=200 metadata.request_id=$request
          span "POST /orders"     output.status_code=201 metadata.request_id=$request
            2x retriever stock    metadata.request_id=$request
            generation thank      model=gpt-4o-mini-2024-07-18 usage.total=24 output.content="Thank you!"
            span ship
              tool book_courier
        """,
        # The customer can quote it to the support.
        request=response.headers["x-request-id"],
    )
    langfuse_spans.assert_single_trace()
    langfuse_spans.assert_propagated("user_id", "session_id")
    langfuse_spans.assert_flushed()
    assert gateway.lost == orders.lost == worker.lost == []
    # Each process recorded its part, and none trusted the browser.
    assert [len(app.spans) for app in (gateway, orders, worker)] == [1, 4, 2]
    assert langfuse_spans[0].trace_id not in CLAIMS["traceparent"]
    # OpenAI does not learn whose order it is.
    assert [headers["baggage"] for headers in openai_api.headers] == [None]
