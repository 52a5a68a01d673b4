"""Answers to questions, with a prompt from Langfuse."""

from __future__ import annotations

from langfuse import get_client, observe

ARTICLES = {
    "return": "You can return an item within 30 days.",
    "delivery": "Delivery takes 2 to 4 days.",
}


@observe(as_type="retriever")
def search(question: str) -> list[str]:
    """Return the articles about a question."""
    return [text for word, text in ARTICLES.items() if word in question.lower()]


@observe()
def answer(question: str) -> str:
    """Answer a question."""
    # Mistake: without fallback=, the bot has nothing to say while Langfuse is down.
    prompt = get_client().get_prompt("naive-answer", max_retries=0)
    return _complete(prompt.compile(articles=" ".join(search(question))), question)


def _complete(system: str, question: str) -> str:
    """Repeat the articles, where a real bot would call its model."""
    with get_client().start_as_current_observation(
        name="llm", as_type="generation", model="gpt-4o-mini", input=[system, question]
    ) as generation:
        text = system.partition("\n")[2] or "I don't know."
        generation.update(output=text)
    return text
