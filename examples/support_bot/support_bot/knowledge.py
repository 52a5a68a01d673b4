"""Retrieval of the help centre's articles, ranked by how many words they share with a question."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_langfuse.tracing import safe_trace

_STOP_WORDS = frozenset(
    {"a", "an", "and", "can", "do", "how", "i", "is", "my", "the", "to", "what", "when", "you", "your"}
)


@dataclass(frozen=True, slots=True)
class Article:
    """One article of the help centre."""

    title: str
    text: str


ARTICLES = (
    Article("Returns", "You can return an item within 30 days. The refund is paid within 5 days of its arrival."),
    Article("Shipping", "Orders ship within one working day. Delivery takes 2 to 4 days; express takes one."),
    Article("Passwords", "Reset your password from the sign-in page. The link is valid for one hour."),
    Article("Invoices", "The invoice of an order is in your account under Orders, as a PDF."),
)


class KnowledgeBase:
    """A search over articles in memory."""

    def __init__(self, articles: Iterable[Article] = ARTICLES) -> None:
        self._articles = [(article, _words(f"{article.title} {article.text}")) for article in articles]

    @safe_trace("search", as_type="retriever")
    def search(self, question: str, limit: int = 2) -> list[Article]:
        """Return the articles that match best, best first."""
        asked = _words(question)
        ranked = sorted(self._articles, key=lambda entry: len(asked & entry[1]), reverse=True)
        return [article for article, words in ranked[:limit] if asked & words]


def _words(text: str) -> set[str]:
    # "returned" should find "return": a crude stem is enough for four articles.
    words = re.findall(r"[a-z]+", text.lower())
    return {re.sub(r"(ed|ing|s)$", "", word) for word in words if word not in _STOP_WORDS}
