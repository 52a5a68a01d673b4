"""Every answer of the stand-in is parsed by the SDK's own models, because the SDK is the one that asks."""

import pytest
from langfuse import Evaluation, Langfuse
from langfuse.api import AsyncLangfuseAPI, DatasetItem, NotFoundError
from langfuse.media import LangfuseMedia

from pytest_langfuse.recording.http.in_process import HandlerStack, async_client
from pytest_langfuse.standin.stand_in import StandIn


def test_auth_check_and_health(langfuse: Langfuse) -> None:
    assert langfuse.auth_check() is True
    assert langfuse.api.health.health().status == "OK"


def test_scores_are_kept_with_what_the_server_adds(langfuse: Langfuse, stand_in: StandIn) -> None:
    langfuse.create_score(name="quality", value=0.5, trace_id="a" * 32, comment="so so", metadata={"by": "me"})
    with langfuse.start_as_current_observation(name="root") as root:
        langfuse.score_current_trace(name="verdict", value="good", data_type="CATEGORICAL")
        langfuse.score_current_span(name="helpful", value=1, data_type="BOOLEAN")
    langfuse.flush()

    quality, verdict, helpful = stand_in.scores
    assert (quality.value, quality.data_type, quality.comment, quality.metadata, quality.environment) == (
        0.5,
        "NUMERIC",
        "so so",
        {"by": "me"},
        "default",
    )
    assert (verdict.trace_id, verdict.observation_id, verdict.value) == (root.trace_id, None, "good")
    assert (helpful.trace_id, helpful.observation_id, helpful.value) == (root.trace_id, root.id, 1)


def test_a_score_sent_again_with_its_id_replaces_the_first(langfuse: Langfuse, stand_in: StandIn) -> None:
    for name, value in (("stars", 1.0), ("other", 0.0), ("stars", 5.0)):
        langfuse.create_score(name=name, value=value, trace_id="a" * 32, score_id=name)
        langfuse.flush()

    assert [(score.name, score.value) for score in stand_in.scores] == [("other", 0.0), ("stars", 5.0)]
    assert [score.value for score in stand_in.score_log] == [1.0, 0.0, 5.0]


def test_a_text_prompt(langfuse: Langfuse, stand_in: StandIn) -> None:
    stand_in.prompt("greeting", "Hello {{name}}", config={"model": "gpt-4o"})

    prompt = langfuse.get_prompt("greeting")

    assert prompt.compile(name="Ann") == "Hello Ann"
    assert (prompt.version, prompt.labels, prompt.config) == (1, ["production", "latest"], {"model": "gpt-4o"})


def test_a_chat_prompt_with_a_placeholder(langfuse: Langfuse, stand_in: StandIn) -> None:
    stand_in.prompt("support/chat", [{"role": "system", "content": "Be {{mood}}"}, {"name": "history"}])

    prompt = langfuse.get_prompt("support/chat", type="chat")

    history = [{"role": "user", "content": "Hi"}]
    assert prompt.compile(mood="kind", history=history) == [{"role": "system", "content": "Be kind"}, *history]


def test_a_prompt_is_fetched_once_and_cached(langfuse: Langfuse, stand_in: StandIn) -> None:
    stand_in.prompt("greeting", "Hello")

    for _ in range(3):
        langfuse.get_prompt("greeting")

    assert [request.path for request in stand_in.requests] == ["/api/public/v2/prompts/greeting"]


def test_an_unknown_prompt(langfuse: Langfuse) -> None:
    with pytest.raises(NotFoundError) as raised:
        langfuse.get_prompt("nope", max_retries=0)
    assert raised.value.body == {
        "message": "Prompt not found: 'nope' with label 'production'",
        "error": "LangfuseNotFoundError",
    }
    assert langfuse.get_prompt("nope", max_retries=0, fallback="Bye").compile() == "Bye"


def test_versions_and_labels(langfuse: Langfuse, stand_in: StandIn) -> None:
    langfuse.create_prompt(name="p", prompt="one", labels=["production"], tags=["t"])
    langfuse.create_prompt(name="p", prompt="two", labels=["staging"])

    assert langfuse.get_prompt("p").prompt == "one"
    assert langfuse.get_prompt("p", label="latest").prompt == "two"
    assert langfuse.get_prompt("p", version=2).labels == ["staging", "latest"]
    langfuse.update_prompt(name="p", version=2, new_labels=["production"])
    assert langfuse.get_prompt("p").prompt == "two"
    assert [(prompt.version, prompt.labels, prompt.tags) for prompt in stand_in.prompts] == [
        (1, (), ("t",)),
        (2, ("staging", "production", "latest"), ("t",)),
    ]
    (summary,) = langfuse.api.prompts.list().data
    assert (summary.name, summary.versions) == ("p", [1, 2])
    langfuse.api.prompts.delete("p", version=2)
    assert langfuse.api.prompts.get("p", label="latest").version == 1


def test_a_prompt_inside_of_a_prompt(langfuse: Langfuse, stand_in: StandIn) -> None:
    stand_in.prompt("rules", 'Say "please"\n')
    stand_in.prompt("main", "Rules: @@@langfusePrompt:name=rules|label=production@@@ End.")
    stand_in.prompt("loop", "@@@langfusePrompt:name=loop|version=1@@@")

    assert langfuse.get_prompt("main").prompt == 'Rules: Say "please"\n End.'
    with pytest.raises(Exception, match="Circular dependency detected"):
        langfuse.get_prompt("loop", max_retries=0)


def test_a_dataset_and_an_experiment_on_it(langfuse: Langfuse, stand_in: StandIn) -> None:
    langfuse.create_dataset(name="qa/small", description="two questions", metadata={"team": "a"})
    for number in range(60):
        langfuse.create_dataset_item(dataset_name="qa/small", input={"n": number}, expected_output=number % 2)
    dataset = langfuse.get_dataset("qa/small")
    assert [item.input["n"] for item in dataset.items] == list(range(59, -1, -1))  # two pages

    def task(*, item: object, **_: object) -> int:
        return item.input["n"] % 2

    def exact(*, output: int, expected_output: int, **_: object) -> Evaluation:
        return Evaluation(name="exact", value=float(output == expected_output))

    result = dataset.run_experiment(name="parity", task=task, evaluators=[exact], max_concurrency=4)
    langfuse.flush()

    assert [evaluation.value for item in result.item_results for evaluation in item.evaluations] == [1.0] * 60
    assert [score.name for score in stand_in.scores] == ["exact"] * 60
    assert [dataset["name"] for dataset in stand_in.datasets] == ["qa/small"]


def test_an_unknown_dataset(langfuse: Langfuse) -> None:
    with pytest.raises(NotFoundError, match="Dataset not found"):
        langfuse.get_dataset("nope")


def test_media_is_uploaded_once(langfuse: Langfuse, stand_in: StandIn) -> None:
    picture = b"\x89PNG" + bytes(1000)
    for _ in range(2):
        with langfuse.start_as_current_observation(
            name="see", input={"img": LangfuseMedia(content_bytes=picture, content_type="image/png")}
        ):
            pass
        langfuse.flush()

    (media,) = stand_in.media
    assert (media.content, media.content_type, media.field, media.status) == (picture, "image/png", "input", 200)
    assert [request.path.split("/")[1] for request in stand_in.requests if request.method == "PUT"] == [
        "stand-in-store"
    ]
    reference = f"@@@langfuseMedia:type=image/png|id={media.id}|source=bytes@@@"
    resolved = langfuse.resolve_media_references(obj=reference, resolve_with="base64_data_uri")
    assert resolved.startswith("data:image/png;base64,iVBORw")


@pytest.mark.skipif("media_references" not in DatasetItem.model_fields, reason="since langfuse 5")
def test_media_in_a_dataset_item_is_described(langfuse: Langfuse, stand_in: StandIn) -> None:
    langfuse.create_dataset(name="pictures")
    media = LangfuseMedia(content_bytes=b"GIF", content_type="image/gif")
    langfuse.create_dataset_item(dataset_name="pictures", input={"it's": [media]})
    langfuse.flush()

    (item,) = langfuse.api.dataset_items.list(dataset_name="pictures").data

    (reference,) = item.media_references
    assert (reference.json_path, reference.media.media_id) == ("$['it's'][0]", stand_in.media[0].id)
    assert reference.media.content_type == "image/gif"
    (hydrated,) = langfuse.get_dataset("pictures").items
    assert hydrated.input["it's"][0].fetch_bytes(client=langfuse._resources.httpx_client) == b"GIF"


@pytest.mark.asyncio
async def test_the_async_api(stand_in: StandIn) -> None:
    stand_in.prompt("greeting", "Hello")
    async with async_client(None, timeout=5, headers=None, handlers=HandlerStack(stand_in)) as client:
        api = AsyncLangfuseAPI(
            base_url="https://langfuse.invalid",
            username="pk",
            password="sk",
            httpx_client=client,
        )
        assert (await api.health.health()).status == "OK"
        assert (await api.prompts.get("greeting")).prompt == "Hello"
        with pytest.raises(NotFoundError):
            await api.prompts.get("nope")
    assert [request.status for request in stand_in.requests] == [200, 200, 404]


def test_an_endpoint_that_is_missing_says_so(langfuse: Langfuse) -> None:
    with pytest.raises(NotFoundError) as raised:
        langfuse.api.comments.get()
    assert raised.value.body["message"] == (
        "The stand-in Langfuse has no endpoint GET /api/public/comments; a route of langfuse_api can answer it: "
        "langfuse_api.route(method='GET', path='/api/public/comments')"
    )


def test_reset_forgets_everything(langfuse: Langfuse, stand_in: StandIn) -> None:
    stand_in.prompt("p", "x")
    langfuse.create_dataset(name="d")
    langfuse.create_score(name="s", value=1, trace_id="a" * 32)
    langfuse.flush()
    stand_in.reset()
    assert (stand_in.scores, stand_in.prompts, stand_in.datasets, stand_in.requests) == ([], [], [], [])
