"""Experiments that ran on a dataset can be read back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from langfuse import Evaluation, Langfuse
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.outage.server import LangfuseServer

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
PAST = {"fromStartTime": "2020-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def server() -> Iterator[LangfuseServer[Any]]:
    """A server to which two experiments were sent: one of three items, one of two."""
    with LangfuseServer() as server:
        client = Langfuse(
            public_key="pk-experiments", secret_key="sk", base_url=server.url, tracer_provider=TracerProvider()
        )
        client.create_dataset(name="quiz")
        for number in range(3):
            client.create_dataset_item(
                dataset_name="quiz", input=number, expected_output=number + 1, metadata={"n": number}
            )
        dataset = client.get_dataset("quiz")
        for name in ("first", "second"):
            if name == "second":
                dataset.items = dataset.items[:2]
            dataset.run_experiment(
                name=name,
                run_name=name,
                description=f"the {name}",
                metadata={"by": "me"},
                task=lambda *, item, **_: item.input + 1,
                evaluators=[lambda **_: Evaluation(name="right", value=1)],
                run_evaluators=[lambda **_: Evaluation(name="all", value=0.5)],
            )
        client.flush()
        yield server
        client.shutdown()


@pytest.fixture
def api(server: LangfuseServer[Any]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/api/public") as client:
        yield client


def rows(api: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = api.get(path, params={**PAST, **query})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def test_experiments_the_newest_first(api: httpx.Client) -> None:
    second, first = rows(api, "/experiments", fields="core,metadata,scores")

    assert [(row["name"], row["itemCount"], row["description"]) for row in (second, first)] == [
        ("second", 2, "the second"),
        ("first", 3, "the first"),
    ]
    assert first["metadata"] == {"by": "me"}
    assert first["startTime"] <= first["endTime"] <= second["endTime"]
    assert [(score["name"], score["subject"]["id"]) for score in first["scores"]] == [("all", first["id"])]
    assert not {"metadata", "scores"} & set(rows(api, "/experiments")[0])


def test_experiments_by_parameters(api: httpx.Client) -> None:
    second, first = rows(api, "/experiments")
    condition = '[{"type": "string", "column": "name", "operator": "starts with", "value": "fir"}]'

    for query in ({"name": "first"}, {"id": first["id"]}, {"filter": condition}):
        assert [row["id"] for row in rows(api, "/experiments", **query)] == [first["id"]]
    assert rows(api, "/experiments", datasetId=first["datasetId"]) == [second, first]
    assert (
        rows(api, "/experiments", datasetId="nope")
        == rows(api, "/experiments", fromStartTime="2999-01-01T00:00:00Z")
        == []
    )


def test_items(api: httpx.Client) -> None:
    groups = "core,dataset,io,metadata,itemMetadata,experimentMetadata,scores"
    items = rows(api, "/experiment-items", fields=groups, experimentName="first")

    assert sorted((item["output"], item["expectedOutput"]) for item in items) == [(1, 1), (2, 2), (3, 3)]
    assert sorted(item["experimentItemMetadata"]["n"] for item in items) == [0, 1, 2]
    assert {item["experimentDescription"] for item in items} == {"the first"}
    assert [[score["name"] for score in item["scores"]] for item in items] == [["right"]] * 3
    assert not {"input", "scores"} & set(rows(api, "/experiment-items")[0])
    assert rows(api, "/experiment-items", experimentItemId=items[0]["experimentItemId"], experimentName="first")


@pytest.mark.parametrize(("path", "count"), [("/experiments", 2), ("/experiment-items", 5)])
def test_pages_by_cursor(api: httpx.Client, path: str, count: int) -> None:
    seen, query = [], {**PAST, "limit": "1"}
    while query and len(seen) < 9:
        body = api.get(path, params=query).json()
        seen += [row["id"] for row in body["data"]]
        cursor = body["meta"].get("cursor")
        query = {**PAST, "limit": "1", "cursor": cursor} if cursor else {}
    assert len(set(seen)) == len(seen) == count
    assert seen == [row["id"] for row in rows(api, path)]


@pytest.mark.parametrize("path", ["/experiments", "/experiment-items"])
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "Invalid input: expected string, received undefined"),
        ({"fromStartTime": "now"}, "Invalid ISO datetime"),
        ({**PAST, "limit": "101"}, "Too big: expected number to be <=100"),
        ({**PAST, "scoreLimit": "51"}, "Too big: expected number to be <=50"),
        ({**PAST, "fields": "colour"}, "Invalid option: expected one of "),
    ],
)
def test_a_bad_request_is_refused_as_langfuse_does(
    api: httpx.Client, path: str, query: dict[str, str], message: str
) -> None:
    answer = api.get(path, params=query)
    assert answer.status_code == 400
    assert answer.json()["error"][0]["message"].startswith(message)


def test_the_sdk_reads_experiments(server: LangfuseServer[Any]) -> None:
    client = Langfuse(public_key="pk-experiments", secret_key="sk", base_url=server.url)
    api: Any = getattr(client.api, "experiments", None)
    if api is None:
        pytest.skip("this release of langfuse does not read experiments")
    listed = api.list(from_start_time=LONG_AGO, fields="core,metadata,scores")
    assert [row.name for row in listed.data] == ["second", "first"]
    items = api.list_items(from_start_time=LONG_AGO, fields="core,dataset,io,scores")
    assert len(items.data) == 5
