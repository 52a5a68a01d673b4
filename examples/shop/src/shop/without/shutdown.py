"""The gateway. Mistake: it does not send its last spans when a deployment terminates it."""

from __future__ import annotations

from fastapi import FastAPI
from langfuse import observe

from shop.catalogue import PRODUCTS

app = FastAPI(telemetry={"tracing": False})


@observe(as_type="retriever")
def search(question: str) -> list[str]:
    return [sku for sku, text in PRODUCTS.items() if question in text]


@app.get("/products")
@observe(name="products")
def products(q: str) -> list[str]:
    return search(q)
