"""Every public method of the SDK does under capture what it does against a server."""

import pytest

# Slow: calls every method of the SDK, on sockets.
pytestmark = pytest.mark.slow

CALLS = '''
"""Calls each public method of a Langfuse client: what it returns, and what it should return."""

import asyncio
import base64
import inspect

from langfuse import Evaluation, Langfuse
from langfuse.media import LangfuseMedia

PNG = b"\\x89PNG\\r\\n\\x1a\\n"


class Calls:
    def __init__(self, client):
        self.client = client

    def auth_check(self):
        yield self.client.auth_check(), True

    def api(self):
        yield self.client.api.health.health().status, "OK"
        yield [project.id for project in self.client.api.projects.get().data], ["pytest-langfuse"]

    def async_api(self):
        async def read():
            api = self.client.async_api
            self.client.create_prompt(name="async", prompt="Hi", labels=["production"])
            prompt = await api.prompts.get("async")
            observations = await api.observations.get_many(limit=1)
            return (await api.health.health()).status, prompt.prompt, type(observations.data)

        yield asyncio.run(read()), ("OK", "Hi", list)

    def create_prompt(self):
        prompt = self.client.create_prompt(name="text", prompt="Hello {{name}}", labels=["production"], tags=["a"])
        yield (prompt.version, prompt.labels, prompt.tags), (1, ["production", "latest"], ["a"])
        messages = [{"role": "system", "content": "Be {{mood}}"}]
        yield self.client.create_prompt(name="chat", type="chat", prompt=messages).compile(mood="kind"), [
            {"role": "system", "content": "Be kind"}
        ]

    def get_prompt(self):
        self.client.create_prompt(name="got", prompt="one", labels=["production"])
        self.client.create_prompt(name="got", prompt="two", labels=["staging"])
        yield self.client.get_prompt("got").prompt, "one"
        yield self.client.get_prompt("got", label="staging").prompt, "two"
        yield self.client.get_prompt("got", version=2).labels, ["staging", "latest"]
        yield self.client.get_prompt("nope", fallback="else", max_retries=0).is_fallback, True

    def update_prompt(self):
        self.client.create_prompt(name="moved", prompt="one", labels=["production"])
        self.client.create_prompt(name="moved", prompt="two")
        self.client.update_prompt(name="moved", version=2, new_labels=["production"])
        yield self.client.get_prompt("moved").prompt, "two"
        yield self.client.get_prompt("moved", version=1).labels, []

    def clear_prompt_cache(self):
        self.client.create_prompt(name="cached", prompt="one", labels=["production"])
        self.client.get_prompt("cached")
        self.client.api.prompts.create(
            request=_prompt_request(name="cached", prompt="two", labels=["production"])
        )
        yield self.client.get_prompt("cached").prompt, "one"
        self.client.clear_prompt_cache()
        yield self.client.get_prompt("cached").prompt, "two"

    def create_dataset(self):
        dataset = self.client.create_dataset(name="a/b", description="d", metadata={"k": 1})
        yield (dataset.name, dataset.description, dataset.metadata), ("a/b", "d", {"k": 1})

    def create_dataset_item(self):
        self.client.create_dataset(name="items")
        item = self.client.create_dataset_item(dataset_name="items", input={"q": 1}, expected_output=2)
        yield (item.input, item.expected_output, item.status.value), ({"q": 1}, 2, "ACTIVE")

    def get_dataset(self):
        self.client.create_dataset(name="got")
        first = self.client.create_dataset_item(dataset_name="got", input=1)
        self.client.create_dataset_item(dataset_name="got", input=2)
        yield [item.input for item in self.client.get_dataset("got").items], [2, 1]
        yield [item.input for item in self.client.get_dataset("got", version=first.created_at).items], [1]

    def get_dataset_run(self):
        self.dataset_with_run("run of one")
        run = self.client.get_dataset_run(dataset_name="run of one", run_name="r")
        yield (run.name, len(run.dataset_run_items)), ("r", 1)

    def get_dataset_runs(self):
        self.dataset_with_run("runs")
        yield [run.name for run in self.client.get_dataset_runs(dataset_name="runs").data], ["r"]

    def delete_dataset_run(self):
        self.dataset_with_run("run to delete")
        self.client.delete_dataset_run(dataset_name="run to delete", run_name="r")
        yield self.client.get_dataset_runs(dataset_name="run to delete").data, []

    def dataset_with_run(self, name):
        self.client.create_dataset(name=name)
        item = self.client.create_dataset_item(dataset_name=name, input=1)
        self.client.api.dataset_run_items.create(run_name="r", dataset_item_id=item.id, trace_id="a" * 32)

    def start_observation(self):
        observation = self.client.start_observation(name="started", as_type="generation", model="gpt-4o", input="why?")
        observation.end()
        row = self.read(observation.trace_id)
        yield (row.name, row.type, row.model, row.input), ("started", "GENERATION", "gpt-4o", "why?")

    def start_as_current_observation(self):
        with self.client.start_as_current_observation(name="current", as_type="agent") as observation:
            yield self.client.get_current_trace_id() == observation.trace_id, True
        yield self.read(observation.trace_id).type, "AGENT"

    def get_current_trace_id(self):
        yield self.client.get_current_trace_id(), None

    def get_current_observation_id(self):
        with self.client.start_as_current_observation(name="current") as observation:
            yield self.client.get_current_observation_id() == observation.id, True
        yield self.client.get_current_observation_id(), None

    def update_current_span(self):
        with self.client.start_as_current_observation(name="plain") as observation:
            self.client.update_current_span(name="renamed", metadata={"k": "v"})
        row = self.read(observation.trace_id)
        yield (row.name, row.metadata), ("renamed", {"k": "v"})

    def update_current_generation(self):
        with self.client.start_as_current_observation(name="llm", as_type="generation") as observation:
            self.client.update_current_generation(usage_details={"input": 1, "output": 2})
        yield self.read(observation.trace_id).usage_details, {"input": 1, "output": 2, "total": 3}

    def create_event(self):
        event = self.client.create_event(name="happened", level="WARNING")
        row = self.read(event.trace_id)
        yield (row.type, row.level.value), ("EVENT", "WARNING")

    def set_current_trace_as_public(self):
        with self.client.start_as_current_observation(name="shared") as observation:
            self.client.set_current_trace_as_public()
        yield self.read(observation.trace_id).public, True

    def set_current_trace_io(self):
        with self.client.start_as_current_observation(name="root", input="of the root") as observation:
            self.client.set_current_trace_io(input="of the trace", output=1)
        self.client.flush()
        trace = self.client.api.trace.get(observation.trace_id)
        yield (trace.input, trace.output), ("of the trace", 1)

    def create_trace_id(self):
        yield self.client.create_trace_id(seed="x") == Langfuse.create_trace_id(seed="x"), True

    def get_trace_url(self):
        url = self.client.get_trace_url(trace_id="a" * 32)
        yield url.partition("/project/")[2], f"pytest-langfuse/traces/{'a' * 32}"

    def create_score(self):
        self.client.create_score(name="stars", value=5, trace_id="c" * 32, score_id="s-1", comment="fine")
        yield self.scores("c" * 32), [("stars", 5)]

    def score_current_trace(self):
        with self.client.start_as_current_observation(name="root") as observation:
            self.client.score_current_trace(name="good", value="yes", data_type="CATEGORICAL")
        yield self.scores(observation.trace_id), [("good", "yes")]

    def score_current_span(self):
        with self.client.start_as_current_observation(name="root") as observation:
            self.client.score_current_span(name="true", value=1, data_type="BOOLEAN")
        yield self.scores(observation.trace_id), [("true", True)]

    def run_experiment(self):
        self.client.create_dataset(name="experiment")
        for number in range(2):
            self.client.create_dataset_item(dataset_name="experiment", input=number, expected_output=number + 1)
        result = self.client.get_dataset("experiment").run_experiment(
            name="first",
            task=lambda *, item, **_: item.input + 1,
            evaluators=[_right],
        )
        yield sorted(item.output for item in result.item_results), [1, 2]
        yield [self.scores(item.trace_id) for item in result.item_results], [[("right", 1)]] * 2

    def run_batched_evaluation(self):
        for number in range(3):
            self.client.start_observation(name="to evaluate", input=number).end()
        self.client.flush()
        scope = {"scope": "observations"} if "scope" in _parameters(Langfuse.run_batched_evaluation) else {}
        result = self.client.run_batched_evaluation(
            mapper=_mapped,
            evaluators=[lambda *, input, **_: Evaluation(name="batch", value=1.0)],
            filter='[{"type": "string", "column": "name", "operator": "=", "value": "to evaluate"}]',
            fetch_batch_size=2,
            **scope,
        )
        yield (result.total_items_fetched, result.total_items_processed, result.completed), (3, 3, True)

    def resolve_media_references(self):
        media = LangfuseMedia(content_bytes=PNG, content_type="image/png")
        observation = self.client.start_observation(name="picture", input={"image": media})
        observation.end()
        self.client.flush()
        reference = media._reference_string
        resolved = self.client.resolve_media_references(
            obj={"image": reference}, resolve_with="base64_data_uri"
        )
        yield resolved["image"], f"data:image/png;base64,{base64.b64encode(PNG).decode()}"

    def flush(self):
        yield self.client.flush(), None

    def shutdown(self):
        yield self.client.shutdown(), None

    # -- reading back ----------------------------------------------------------------------------------------

    def read(self, trace_id):
        self.client.flush()
        groups = "core,basic,io,metadata,model,usage"
        [row] = self.client.api.observations.get_many(trace_id=trace_id, fields=groups).data
        return row

    def scores(self, trace_id):
        self.client.flush()
        api = self.client.api
        if hasattr(api.scores, "get_by_id"):
            rows = api.scores.get_many(trace_id=trace_id).data
            return [(row.name, row.string_value if row.data_type == "CATEGORICAL" else row.value) for row in rows]
        return [(row.name, row.value) for row in api.scores.get_many(trace_id=trace_id).data]


def _right(*, output, expected_output, **_):
    return Evaluation(name="right", value=output == expected_output)


def _parameters(function):
    return inspect.signature(function).parameters


def _mapped(*, item, **_):
    from langfuse.batch_evaluation import EvaluatorInputs

    return EvaluatorInputs(input=item.input, output=item.output, expected_output=None, metadata={})


def _prompt_request(**fields):
    import langfuse.api as api

    return api.CreatePromptRequest_Text(type="text", **fields) if hasattr(api, "CreatePromptRequest_Text") else (
        api.CreateTextPromptRequest(type="text", **fields)
    )
'''

TESTS = """
    import itertools
    import pytest
    from langfuse import Langfuse
    from opentelemetry.sdk.trace import TracerProvider
    from pytest_langfuse.outage.server import LangfuseServer
    from calls import Calls

    WAY = "{way}"
    METHODS = [name for name in dir(Langfuse) if not name.startswith("_")]
    numbers = itertools.count()

    @pytest.fixture
    def client(request):
        if WAY == "without capture":
            with LangfuseServer() as server:
                yield built(server.url)
            return
        request.getfixturevalue("langfuse_spans")
        if WAY == "captured, on a socket":
            request.getfixturevalue("langfuse_server")
        yield built("https://langfuse.invalid")

    def built(url):
        key = f"pk-lf-{next(numbers)}"
        return Langfuse(public_key=key, secret_key="sk", base_url=url, tracer_provider=TracerProvider())

    @pytest.mark.parametrize("method", METHODS)
    def test_method(client, method):
        steps = list(getattr(Calls(client), method)())
        assert steps
        for returned, expected in steps:
            assert returned == expected
        client.shutdown()
"""


@pytest.mark.parametrize("way", ["captured", "captured, on a socket", "without capture"])
def test_each_public_method_returns_what_langfuse_documents(app: pytest.Pytester, way: str) -> None:
    app.makepyfile(calls=CALLS)
    app.makepyfile(TESTS.replace("{way}", way))
    outcomes = app.runpytest_subprocess("-q", "--tb=short").parseoutcomes()
    assert (outcomes.get("failed", 0), outcomes.get("errors", 0)) == (0, 0)
    assert outcomes["passed"] >= 28
