"""LF010's patterns of a project's own secrets: how they are given, what they find, and that each search ends."""

import re
import signal
import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.rules.__main__ import main
from pytest_langfuse.rules.rule_set import RuleSet, UnknownRule
from pytest_langfuse.rules.secrets import own_pattern as own_pattern_module
from pytest_langfuse.rules.secrets.own_pattern import found_in, own_pattern
from tests.helpers.paths import DOCS

ORDER = r"LF010.pattern.order-id=\bORD-\d{3,8}\b"
#: Tries all ways to split a row of letters. None of the texts on which patterns are tried out is one of `b`.
SLOW = r"LF010.pattern.slow=(?:[b-z]+)+!"


@pytest.fixture(autouse=True)
def limit(monkeypatch):
    """A tenth of the time, and no pattern is known from another test."""
    monkeypatch.setattr(own_pattern_module, "_LIMIT", 0.05)
    own_pattern.cache_clear()
    yield monkeypatch
    own_pattern.cache_clear()


def texts(findings):
    return [finding.text.partition(" has ")[2] for finding in findings]


def test_where_it_stands(client, find):
    with client.start_as_current_observation(
        name="answer", input={"text": "about ORD-123456"}, metadata={"order": "ORD-123", "more": ["ORD-12", "ORD-123"]}
    ) as answer:
        answer.update(output="the order ORD-654321")
    assert find("LF010") == []
    assert texts(find("LF010", ORDER)) == [
        f"a secret of the pattern 'order-id' in its {where}"
        for where in ("input", "metadata 'order'", "metadata 'more'", "output")
    ]


def test_several_and_those_that_are_built_in(client, find):
    key = "sk-" + "lf-" + "7c1e5b2a-94d3-4f68-b0a7-e2d95c3f8146"
    with client.start_as_current_observation(name="answer", input=f"{key} ORD-123 Project Bluebird"):
        pass
    found = find("LF010", ORDER, "LF010.pattern.codename=(?i)project bluebird")
    assert [text.removesuffix(" in its input") for text in texts(found)] == [
        "a Langfuse secret key",
        "a secret of the pattern 'order-id'",
        "a secret of the pattern 'codename'",
    ]


@pytest.mark.parametrize("code", ["LF006", "LF010", "LF027"])
def test_no_rule_repeats_it(client, find, code):
    trace_id = client.create_trace_id()
    for _ in range(2):
        client.start_observation(
            name="answer ORD-1234", as_type="generation", metadata={"ORD-1234": 1}, trace_context={"trace_id": trace_id}
        ).end()
        client.start_observation(name="x", input="ORD-1234").end()
    found = find(code, ORDER)
    assert [finding for finding in found if "1234" in f"{finding} {finding.observation}"] == []
    if code != "LF027":
        assert len(found) >= 2


def test_what_no_mask_sees(langfuse_fresh_client, find):
    client = langfuse_fresh_client(
        public_key="pk-lf-020", secret_key="sk-lf-020", mask=lambda **_: "***", tracer_provider=TracerProvider()
    )
    with client.start_as_current_observation(name="answer", input="ORD-123") as answer:
        answer.update(status_message="no such order: ORD-123")
    (finding,) = find("LF020", ORDER)
    assert "has a secret of the pattern 'order-id' in its status message, which mask= of the" in finding.text


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        # As JSON they stand behind an `n`, a `t` and a backslash.
        ("a\nORD-123", ORDER),
        (["a\tORD-123"], ORDER),
        ({"a": {"say \n": 1, "b": 'token="abc"'}}, 'LF010.pattern.token=token="\\w+"'),
        ({"kü\nORD-123": 1}, ORDER),
        ({"name": "Zoë"}, "LF010.pattern.name=Zoë"),
    ],
)
def test_json_is_read(client, find, value, pattern):
    client.start_observation(name="answer", input=value).end()
    assert len(find("LF010", pattern)) == 1


@pytest.mark.parametrize(
    "text", ['{"broken\\n', '["a\\n", ' + "[" * 100_000, '"\\ud800"', "\\n", '[1, null, true, "\\n"]']
)
def test_what_is_no_json(client, find, text):
    client.start_observation(name="answer", input=text).end()
    assert find("LF010", ORDER) == []


def test_bounded_on_the_text_of_the_application(client, find, monkeypatch):
    client.start_observation(name="answer", input="bbbb " * 100).end()
    assert find("LF010", SLOW) == []
    client.start_observation(name="answer", input="b" * 100).end()
    message = re.escape("LF010: the pattern 'slow', (?:[b-z]+)+!, took more than 0.1 s on a text of 100 characters: ")
    with pytest.raises(UnknownRule, match=message):
        find("LF010", SLOW)
    # It is known now, and not tried again.
    RuleSet.of(options=[ORDER])
    monkeypatch.setattr(own_pattern_module, "_limited", lambda _: pytest.fail("not needed"))
    with pytest.raises(UnknownRule, match=message):
        find("LF010", SLOW, ORDER)


def test_names_are_hidden_within_the_same_bounds(client, find):
    client.start_observation(name="b" * 60, as_type="generation").end()
    with pytest.raises(UnknownRule, match="the pattern 'slow'"):
        find("LF006", SLOW)


def test_signals_are_as_before(client, find):
    timer = signal.getitimer(signal.ITIMER_VIRTUAL)
    handler = signal.getsignal(signal.SIGVTALRM)
    client.start_observation(name="answer", input="ORD-123").end()
    assert len(find("LF010", ORDER)) == 1
    with pytest.raises(UnknownRule):
        RuleSet.of(options=["LF010.pattern.slow=(a+)+$"])
    assert signal.getsignal(signal.SIGVTALRM) == handler
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == timer


def test_another_thread_searches_for_nothing(client, find):
    client.start_observation(name="answer", input="ORD-123").end()
    found = [None]

    def search():
        found[0] = find("LF010", ORDER)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert found == [[]]


def test_nothing_is_done_without_patterns(client, find, monkeypatch):
    client.start_observation(name="answer", input="ORD-123", as_type="generation").end()
    monkeypatch.setattr(own_pattern_module, "_limited", lambda _: pytest.fail("not needed"))
    assert find("LF010") == []
    assert len(find("LF006")) == 1


BAD = {
    "LF010.pattern.a=ab(c": (
        "LF010.pattern.a: ab(c is not a regular expression: missing ), unterminated subpattern at position 2"
    ),
    r"LF010.pattern.a=[z-a]\d, x": (
        r"LF010.pattern.a: [z-a]\d, x is not a regular expression: bad character range z-a at position 1"
    ),
    "LF010.pattern.a=": "LF010.pattern.a: the pattern is empty",
    "LF010.pattern.a=x*": "LF010.pattern.a: x* matches the empty text, and so every text",
    "LF010.pattern.a=x{99999999999}": "LF010.pattern.a: x{99999999999} is too large for a regular expression",
    "LF010.pattern.a=(\\w+)*@": "LF010.pattern.a: the pattern 'a', (\\w+)*@, took more than 0.1 s on a text of *",
    "LF010.pattern.a=(a|a)+$": "LF010.pattern.a: the pattern 'a', (a|a)+$, took more than 0.1 s on a text of *",
    "LF010.pattern=x": "LF010.pattern needs a name of letters, digits, - and _, which findings show, *, and not ''",
    "LF010.pattern.ä.b=x": "LF010.pattern needs a name *, and not 'ä.b'",
    "LF010.pattern.a b=x": "'LF010.pattern.a' is not CODE.option=value*",
    "LF010.patern.a=x": "'LF010.patern.a=x': LF010 has no option 'patern', did you mean 'pattern'?",
    "LF017.max_block.a=1": "'LF017.max_block.a=1': LF017.max_block is a number, as in LF017.max_block=2",
    "LF010.pattern.a=x\n    LF010.pattern.a=y": "LF010.pattern.a is there twice",
}


@pytest.mark.parametrize("option", BAD)
def test_mistakes_are_one_line_before_any_test_runs(pytester, option):
    pytester.makepyfile("def test_it(): raise AssertionError('it ran')")
    pytester.makeini(f"[pytest]\nlangfuse_rules =\n    LF017.max_block=2\n    {option}\n    LF028.tolerance=1")
    result = pytester.runpytest("--langfuse-capture")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = re.sub(r"([\[\]])", r"[\1]", BAD[option])
    result.stderr.fnmatch_lines([f"ERROR: ini option langfuse_rules: {text}*"])
    assert len(result.stderr.lines) <= 2


APP = """
    from langfuse import Langfuse

    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")

    def answer(question):
        langfuse.start_observation(name="answer", input=question).end()
"""
TESTS = """
    import bot

    def test_order():
        bot.answer("where is ORD-1234?")

    def test_name():
        bot.answer("ask for Jo Doe #7, soon")

    def test_other():
        bot.answer("b" * 100)
"""
INI = r"""
[pytest]
langfuse_strict = true
langfuse_rules =
    LF017.max_block=2, LF028.tolerance=1
    LF010.pattern.order-id = \bORD-\d{3,8}\b
    LF010.pattern.customer=Jo Doe #\d, soon
"""


def test_in_a_run(pytester):
    pytester.makepyfile(bot=APP, test_bot=TESTS)
    pytester.makeini(INI)
    result = pytester.runpytest("-p", "no:randomly", "--langfuse-show=none", "--tb=short")
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "LF010 secret in clear: 'answer' (bot.py:6) has a secret of the pattern 'order-id' in its input. Fix: *",
            "LF010 secret in clear: 'answer' (bot.py:6) has a secret of the pattern 'customer' in its input. Fix: *",
        ]
    )


def test_a_search_that_takes_too_long_fails_the_test_and_not_the_run(pytester):
    pytester.makepyfile(bot=APP, test_bot=TESTS)
    pytester.makeini(f"[pytest]\nlangfuse_capture = true\nlangfuse_rules = {SLOW}")
    result = pytester.runpytest("-p", "no:randomly", "--langfuse-show=none")
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(
        ["LF010: the pattern 'slow', (?:[[]b-z[]]+)+!, took more than 0.1 s on a text of 100 *"]
    )


def test_with_the_command(client, langfuse_spans, tmp_path, capsys):
    client.start_observation(name="answer", input="ORD-1234 and " + "b" * 100).end()
    (body,) = [one.body for one in langfuse_spans._source.wire()]
    path = tmp_path / "trace.bin"
    path.write_bytes(body)
    assert main(["check", str(path), "--option", ORDER, "--option", "LF010.pattern.codename=blue, bird"]) == 1
    assert "has a secret of the pattern 'order-id' in its input" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path), "--option", SLOW])
    assert ended.value.code == 2
    assert "check: LF010: the pattern 'slow', (?:[b-z]+)+!, took more" in capsys.readouterr().err


def test_assert_clean(pytester):
    pytester.makepyfile(
        bot=APP,
        test_bot="""
        import bot, pytest
        from pytest_langfuse import TreeMismatch

        def test_it(langfuse_spans):
            bot.answer("ORD-1234")
            with pytest.raises(TreeMismatch, match=r"a secret of the pattern\\s+'order-id'"):
                langfuse_spans.assert_clean()

        def test_slow(langfuse_spans):
            bot.answer("b" * 100)
            langfuse_spans.assert_clean()
        """,
    )
    pytester.makeini(f"[pytest]\nlangfuse_rules =\n  {ORDER}\n  {SLOW}")
    result = pytester.runpytest("-p", "no:randomly")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E * ValueError: assert_clean(): LF010: the pattern 'slow', *"])
    result.stdout.no_fnmatch_line("*own_pattern.py*")


def documented() -> dict[str, str]:
    page = (DOCS / "rules" / "LF010.md").read_text()
    return dict(re.findall(r"^\s*LF010\.pattern\.([\w-]+)=(.+)$", page, re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("email", "write to Jane.Doe+ai@mail.example.co.uk.", True),
        ("email", "@observe, langfuse@3.0, a@b, decorators like @pytest.fixture and user@host", False),
        ("iban", "DE89 3704 0044 0532 0130 00 or GB82WEST12345698765432", True),
        ("iban", "GPT4 TURBO 2024, RFC2616 and AB12", False),
        ("ssn", "SSN 536-22-1234.", True),
        ("ssn", "2024-08-06, 000-12-3456, 1536-22-12345, 666-22-1234", False),
        ("order-id", "ORD-123456", True),
        ("order-id", "ORD-1234567", False),
    ],
)
def test_the_patterns_on_the_page(name, text, is_found):
    pattern = own_pattern(name, documented()[name])
    assert bool(found_in([pattern], [("", text)])) == is_found
    # On a megabyte of what is in traces.
    found_in([pattern], [("", (text + " iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB/") * 20_000), ("", "x" * 1_000_000)])
