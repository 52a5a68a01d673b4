"""Names and labels of prompts, lists of prompts, and requests that Langfuse refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from pytest_langfuse.standin.stand_in import StandIn

TEXT = {"name": "greeting", "prompt": "Hello"}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"name": ""}, ["name"], "Text cannot be empty"),
        ({"name": "a|b"}, ["name"], "Prompt name cannot contain '|' character"),
        ({"name": "a<b>c"}, ["name"], "Text cannot contain HTML tags"),
        ({"name": "/a"}, ["name"], "Name cannot start with a slash"),
        ({"name": "a//b"}, ["name"], "Name cannot contain consecutive slashes"),
        ({"name": "a/"}, ["name"], "Name cannot end with a slash"),
        ({"name": "metrics"}, ["name"], "Prompt name cannot be 'metrics'"),
        ({"labels": "production"}, ["labels"], "Invalid input: expected array"),
        (
            {"labels": ["ok", "Not OK"]},
            ["labels", 1],
            "Label must be lowercase alphanumeric with optional underscores, hyphens, or periods",
        ),
        ({"labels": ["x" * 37]}, ["labels", 0], "Too big: expected string to have <=36 characters"),
        ({"labels": [1]}, ["labels", 0], "Invalid input: expected string"),
    ],
)
def test_a_bad_prompt_is_refused(
    http: httpx.Client, stand_in: StandIn, change: dict[str, Any], path: list[object], message: str
) -> None:
    answer = http.post("/v2/prompts", json=TEXT | change)

    assert answer.status_code == 400
    [issue] = answer.json()["error"]
    assert (issue["path"], issue["message"]) == (path, message)
    assert stand_in.prompts == []


@pytest.mark.parametrize("name", ["a/b", "metrics/a", "new one", "größe", "a<b"])
def test_names_that_are_fine(http: httpx.Client, name: str) -> None:
    assert http.post("/v2/prompts", json={**TEXT, "name": name}).status_code == 201


def test_a_prompt_that_refers_to_none_is_not_created(http: httpx.Client, stand_in: StandIn) -> None:
    reference = "@@@langfusePrompt:name=part|label=production@@@"
    refused = http.post("/v2/prompts", json={"name": "whole", "prompt": f"Dear {reference}"})
    assert (refused.status_code, refused.json()["error"]) == (400, "InvalidRequestError")

    stand_in.prompt("part", "Ann")
    assert http.post("/v2/prompts", json={"name": "whole", "prompt": f"Dear {reference}"}).status_code == 201
    # It can't refer to itself.
    itself = http.post("/v2/prompts", json={"name": "part", "prompt": reference})
    assert "Circular dependency" in itself.json()["message"]


def test_an_unknown_version_is_named(http: httpx.Client) -> None:
    answer = http.patch("/v2/prompts/greeting/versions/3", json={"newLabels": ["staging"]})
    assert (answer.status_code, answer.json()) == (
        404,
        {"message": "Prompt not found: greeting", "error": "LangfuseNotFoundError"},
    )


def test_a_list_has_ten_prompts_on_a_page(http: httpx.Client, stand_in: StandIn) -> None:
    for number in range(12):
        stand_in.prompt(f"p{number:02}", "x")
    stand_in.prompt("p00", "y", version=2, tags=["new"])

    def names(**query: object) -> list[str]:
        return [row["name"] for row in http.get("/v2/prompts", params=query).json()["data"]]

    body = http.get("/v2/prompts").json()
    assert len(body["data"]) == 10
    assert body["meta"] == body["pagination"] == {"page": 1, "limit": 10, "totalItems": 12, "totalPages": 2}
    assert names(page=2) == ["p10", "p11"]
    assert names(version=2) == names(tag="new") == names(name="p00") == ["p00"]
    assert names(toUpdatedAt="2020-01-01T00:00:00Z") == []
    assert len(names(fromUpdatedAt="2020-01-01T00:00:00Z", name="", limit=100)) == 12
    assert http.get("/v2/prompts", params={"limit": 101}).status_code == 400
