"""Items of datasets: their order, their versions, and requests that Langfuse refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from freezegun import freeze_time
from langfuse import Langfuse
from langfuse.api import DatasetStatus, NotFoundError
from langfuse.api.core import ApiError

from pytest_langfuse.standin.stand_in import StandIn


@pytest.fixture
def dataset(langfuse: Langfuse) -> str:
    langfuse.create_dataset(name="quiz")
    return "quiz"


def inputs(langfuse: Langfuse, **version: datetime) -> list[object]:
    return [item.input for item in langfuse.get_dataset("quiz", **version).items]


def test_the_newest_item_is_the_first_on_whatever_page(langfuse: Langfuse, dataset: str) -> None:
    for number in range(7):
        langfuse.create_dataset_item(dataset_name=dataset, input=number)

    assert inputs(langfuse) == [6, 5, 4, 3, 2, 1, 0]
    assert [item.input for item in langfuse.get_dataset(dataset, fetch_items_page_size=3).items] == [
        6,
        5,
        4,
        3,
        2,
        1,
        0,
    ]


def test_a_dataset_as_it_was(langfuse: Langfuse, dataset: str) -> None:
    first = langfuse.create_dataset_item(dataset_name=dataset, input="a", expected_output=1)
    langfuse.create_dataset_item(dataset_name=dataset, input="b")
    changed = langfuse.create_dataset_item(dataset_name=dataset, id=first.id, input="a2")
    langfuse.api.dataset_items.delete(first.id)

    assert inputs(langfuse, version=first.created_at - timedelta(milliseconds=1)) == []
    assert inputs(langfuse, version=first.created_at) == ["a"]
    assert inputs(langfuse, version=changed.created_at - timedelta(milliseconds=1)) == ["b", "a"]
    assert inputs(langfuse, version=changed.created_at) == ["a2", "b"]
    assert inputs(langfuse, version=datetime.now(UTC)) == inputs(langfuse) == ["b"]
    assert langfuse.get_dataset(dataset, version=first.created_at).version == first.created_at


@pytest.mark.slow
def test_a_version_in_another_time_zone_without_an_offset_or_of_a_day(langfuse: Langfuse, http: httpx.Client) -> None:
    with freeze_time("2026-05-05T12:00:00Z", ignore=["langfuse"]):
        langfuse.create_dataset(name="quiz")
        langfuse.create_dataset_item(dataset_name="quiz", input="a")

    def count(version: str) -> int:
        answer = http.get("/dataset-items", params={"datasetName": "quiz", "version": version})
        return int(answer.json()["meta"]["totalItems"])

    assert [count(version) for version in ("2026-05-05T14:00:00+02:00", "2026-05-05T12:00:00", "2026-05-06")] == [
        1,
        1,
        1,
    ]
    assert [count(version) for version in ("2026-05-05T13:59:59+02:00", "2026-05-05")] == [0, 0]


def test_a_new_version_keeps_what_it_does_not_set(langfuse: Langfuse, dataset: str) -> None:
    first = langfuse.create_dataset_item(
        dataset_name=dataset, input="q", expected_output="a", metadata={"k": 1}, source_trace_id="t"
    )

    langfuse.create_dataset_item(dataset_name=dataset, id=first.id, status=DatasetStatus.ARCHIVED)

    item = langfuse.api.dataset_items.get(first.id)
    assert (item.input, item.expected_output, item.metadata, item.source_trace_id) == ("q", "a", {"k": 1}, "t")
    assert item.status is DatasetStatus.ARCHIVED
    assert inputs(langfuse) == []


@pytest.mark.slow
def test_an_item_belongs_to_one_dataset(langfuse: Langfuse, dataset: str) -> None:
    item = langfuse.create_dataset_item(dataset_name=dataset, input="q")
    langfuse.create_dataset(name="other")

    with pytest.raises(ApiError) as raised:
        langfuse.create_dataset_item(dataset_name="other", id=item.id, input="q")
    assert (raised.value.status_code, raised.value.body["error"]) == (409, "LangfuseConflictError")
    assert item.id in raised.value.body["message"]


def test_what_does_not_exist_is_named(langfuse: Langfuse, dataset: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        langfuse.create_dataset_item(dataset_name="nope", input="q")
    assert raised.value.body["message"].startswith("Dataset nope not found")
    with pytest.raises(NotFoundError) as raised:
        langfuse.api.dataset_items.delete("nope")
    assert raised.value.body["message"].startswith("Dataset item with id nope not found")


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ({"limit": "101"}, "limit", "Too big: expected number to be <=100"),
        ({"limit": "0"}, "limit", "Too small: expected number to be >=1"),
        ({"limit": "1.5"}, "limit", "Invalid input: expected int, received number"),
        ({"page": "two"}, "page", "Invalid input: expected number, received NaN"),
        ({"page": "-1"}, "page", "Too small: expected number to be >=1"),
        ({"version": "yesterday", "datasetName": "quiz"}, "version", "Invalid input: expected date, received Date"),
        (
            {"version": "2026-01-01T00:00:00Z"},
            "datasetName",
            "datasetName is required when version parameter is provided",
        ),
    ],
)
def test_a_bad_query_is_refused_as_langfuse_does(
    http: httpx.Client, dataset: str, query: dict[str, str], field: str, message: str
) -> None:
    answer = http.get("/dataset-items", params=query)

    assert answer.status_code == 400
    [issue] = answer.json()["error"]
    assert (answer.json()["message"], issue["path"], issue["message"]) == ("Invalid request data", [field], message)


def test_a_bad_status_is_refused(http: httpx.Client, dataset: str) -> None:
    answer = http.post("/dataset-items", json={"datasetName": dataset, "status": "OLD"})

    assert answer.status_code == 400
    assert answer.json()["error"][0]["message"] == 'Invalid option: expected one of "ACTIVE"|"ARCHIVED"'


def test_runs_link_items_to_traces(langfuse: Langfuse, http: httpx.Client, dataset: str) -> None:
    items = [langfuse.create_dataset_item(dataset_name=dataset, input=number) for number in range(2)]
    for item in items:
        for run in ("first", "second"):
            http.post("/dataset-run-items", json={"runName": run, "datasetItemId": item.id, "traceId": "t"})

    runs = http.get("/datasets/quiz/runs").json()
    linked = http.get("/dataset-run-items", params={"datasetId": items[0].dataset_id, "runName": "first"}).json()
    unknown = http.get("/dataset-run-items", params={"datasetId": items[0].dataset_id, "runName": "nope"})

    assert [run["name"] for run in runs["data"]] == ["second", "first"]
    assert [run_item["datasetItemId"] for run_item in linked["data"]] == [items[1].id, items[0].id]
    assert (unknown.status_code, unknown.json()["error"]) == (404, "LangfuseNotFoundError")
    assert http.get("/dataset-run-items").json()["error"][0]["path"] == ["datasetId"]


def test_an_archived_item_takes_part_in_no_run(langfuse: Langfuse, http: httpx.Client, dataset: str) -> None:
    item = langfuse.create_dataset_item(dataset_name=dataset, input="q", status=DatasetStatus.ARCHIVED)

    answer = http.post("/dataset-run-items", json={"runName": "run", "datasetItemId": item.id, "traceId": "t"})

    assert (answer.status_code, answer.json()["message"]) == (404, "Dataset item not found")


def test_tags_are_those_of_all_versions(langfuse: Langfuse, stand_in: StandIn) -> None:
    langfuse.create_prompt(name="greeting", prompt="Hello", tags=["a", "b", "a"])
    langfuse.create_prompt(name="greeting", prompt="Hi")
    assert [prompt.tags for prompt in stand_in.prompts] == [("a", "b"), ("a", "b")]

    langfuse.create_prompt(name="greeting", prompt="Hey", tags=["c"])
    assert [prompt.tags for prompt in stand_in.prompts] == [("c",)] * 3

    langfuse.create_prompt(name="greeting", prompt="Yo", tags=[])
    assert [prompt.tags for prompt in stand_in.prompts] == [()] * 4
