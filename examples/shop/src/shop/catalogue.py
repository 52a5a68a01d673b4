"""The products of the shop."""

from __future__ import annotations

from pytest_langfuse.tracing import safe_trace

PRODUCTS = {"mug": "A mug for coffee", "pot": "A pot for tea", "tea": "Green tea, 100 g"}
IN_STOCK = {"mug": 12, "pot": 3, "tea": 40}


@safe_trace("search", as_type="retriever")
def search(question: str) -> list[str]:
    """Return the products that match a question."""
    return [sku for sku, text in PRODUCTS.items() if question.lower() in text.lower()]


@safe_trace("stock", as_type="retriever")
def stock(sku: str) -> int:
    """Return how many pieces of a product are in stock."""
    return IN_STOCK.get(sku, 0)
