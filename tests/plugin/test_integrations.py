"""Langfuse's own integrations, real ones, with the provider's HTTP API mocked at the edge."""

import pytest

# Slow: imports frameworks.
pytestmark = pytest.mark.slow

COMPLETION = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


def test_openai_beside_a_respx_mock_of_the_users_own(app: pytest.Pytester) -> None:
    app.makepyfile(f"""
        import httpx
        import pytest
        from langfuse.openai import OpenAI
        from app import langfuse

        @pytest.mark.respx(assert_all_mocked=True, assert_all_called=True)
        def test_chat(langfuse_spans, langfuse_api, respx_mock):
            respx_mock.post("https://api.openai.com/v1/chat/completions").respond(json={COMPLETION!r})
            langfuse_api.prompt("greeting", "Hello {{{{name}}}}")
            prompt = langfuse.get_prompt("greeting")
            client = OpenAI(api_key="sk-openai", http_client=httpx.Client())
            with langfuse.start_as_current_observation(name="chat"):
                client.chat.completions.create(
                    model="gpt-4o",
                    messages=[{{"role": "user", "content": prompt.compile(name="Ada")}}],
                    langfuse_prompt=prompt,
                )
            langfuse_spans.assert_tree('''
                span chat
                  generation OpenAI-generation  model="gpt-4o-2024-08-06" usage.total=5 prompt_name=greeting
            ''')
            assert langfuse_spans.one("generation OpenAI-generation").input[0]["content"] == "Hello Ada"
    """)
    app.runpytest("-p", "respx").assert_outcomes(passed=1)


def test_langchain(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from langchain_core.language_models.fake_chat_models import FakeListChatModel
        from langchain_core.prompts import ChatPromptTemplate
        from langfuse.langchain import CallbackHandler
        from app import langfuse

        def test_chain(langfuse_spans):
            chain = ChatPromptTemplate.from_template("{question}") | FakeListChatModel(responses=["because"])
            chain.invoke({"question": "why?"}, config={"callbacks": [CallbackHandler()]})
            langfuse_spans.assert_contains("generation FakeListChatModel output~because")
            langfuse_spans.assert_single_trace()
    """)
    app.runpytest().assert_outcomes(passed=1)


def test_run_experiment(app: pytest.Pytester) -> None:
    app.makepyfile("""
        from app import answer, langfuse

        def test_experiment(langfuse_spans):
            result = langfuse.run_experiment(
                name="nightly",
                data=[{"input": "why?"}, {"input": "how?"}],
                task=lambda item, **_: answer(item["input"]),
            )
            assert len(result.item_results) == 2
            assert len(langfuse_spans.all("span answer")) == 2
            assert {o.environment for o in langfuse_spans} == {"sdk-experiment"}
    """)
    app.runpytest().assert_outcomes(passed=1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_logfire(app: pytest.Pytester, when: str) -> None:
    configure = "logfire.configure(send_to_logfire=False, console=False)"
    app.makepyfile(f"""
        import logfire
        from app import answer
        from langfuse import Langfuse

        def test_beside_logfire(langfuse_fresh_client, langfuse_spans):
            {configure if when == "before" else "pass"}
            client = langfuse_fresh_client()
            {configure if when == "after" else "pass"}
            with logfire.span("GET /x"):
                answer("why?")
            langfuse_spans.assert_contains("span answer")
            assert "GET /x" in [o.name for o in langfuse_spans.filtered]
    """)
    app.runpytest_subprocess().assert_outcomes(passed=1)
