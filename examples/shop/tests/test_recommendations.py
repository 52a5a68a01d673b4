"""A trace that continues in another language."""

from __future__ import annotations

import pytest
from processes import Shop

from pytest_langfuse import Observations


@pytest.mark.usefixtures("_packages_of_node")
def test_one_trace_over_fastapi_and_node(shop: Shop, langfuse_spans: Observations) -> None:
    recommendations = shop.recommendations()
    gateway = shop.gateway(RECOMMENDATIONS_URL=recommendations.url)
    shop.wait_ready(recommendations, gateway)

    with shop.customer(gateway, user="u-1", session="s-1") as customer:
        response = customer.get("/products/mug/recommendations")
    assert response.json() == ["pot"]
    shop.stop(gateway, recommendations)

    langfuse_spans.assert_tree("""
        * user_id=u-1 session_id=s-1 environment=production release=2.1.0
        span "GET /products/{sku}/recommendations"  output.status_code=200
          agent recommend                           input=mug output=["pot"]
            retriever neighbours                    output=["pot","tea"]
    """)
    langfuse_spans.assert_single_trace()
    langfuse_spans.assert_propagated("user_id", "session_id")
    assert [observation.name for observation in recommendations.spans] == ["recommend", "neighbours"]
    assert recommendations.returncode == 0
    assert gateway.lost == []
