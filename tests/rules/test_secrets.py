"""Secrets in text. Keys are put together here: none stands in this file, for scanners that read it."""

from __future__ import annotations

import json
import random
import re
import string

import pytest

from pytest_langfuse.rules.secrets import scan
from pytest_langfuse.rules.secrets.betterleaks import TABLE
from pytest_langfuse.rules.secrets.scan import may_hold_secret, secrets, without_secrets
from tests.helpers.paths import ROOT

LETTERS, HEX = string.ascii_letters, "0123456789abcdef"
WORD = LETTERS + string.digits


def made(alphabet: str, length: int) -> str:
    chosen = random.Random(f"{alphabet}{length}")
    while True:
        text = "".join(chosen.choice(alphabet) for _ in range(length))
        # As good as never in a real key.
        if not re.search(r"(.)\1{3}|xxxx|test|token", text, re.IGNORECASE):
            return text


def in_pairs(label: str, value: str) -> list[str]:
    """Return a label and its value as lists of headers and variables have them."""
    pairs = [("accept", "*/*"), (label, value)]
    return [
        json.dumps(pairs),
        json.dumps({"headers": [[label.lower(), value]]}),
        json.dumps(json.dumps(pairs)),
        str(pairs),
        # As ASGI has them in its scope.
        str({"headers": [(key.lower().encode(), text.encode()) for key, text in pairs]}),
        json.dumps({label: [value]}),
        json.dumps([{"name": label, "value": value}]),
        f"Metadatum(key={label!r}, value={value!r})",
        f"env:\n- name: {label}\n  value: {value}\n",
    ]


PEM = "\n".join(made(WORD + "+/", 64) for _ in range(8))
KEYS = {
    "an OpenAI API key": ["sk-" + "proj-" + made(WORD + "_-", 74) + "T3Blbk" + "FJ" + made(WORD, 74)],
    "an Anthropic API key": ["sk-ant-" + "api03-" + made(WORD + "_-", 93) + "AA"],
    "an Anthropic admin key": ["sk-ant-" + "admin01-" + made(WORD + "_-", 93) + "AA"],
    "an AWS access key id": ["AKI" + "A" + made("ABCDEFGHJKLMNPQ234567", 16)],
    "an Amazon Bedrock API key": ["ABS" + "K" + made(WORD, 128)],
    "a Google API key": ["AIz" + "a" + made(WORD + "_-", 34) + "k"],
    "a Gemini API key": ["AQ.Ab8" + "RN6" + made(WORD, 44)],
    "a GitHub token": ["gh" + "p_" + made(WORD, 36), "github" + "_pat_" + made(WORD, 82)],
    "a GitHub OAuth token": ["gh" + "o_" + made(WORD, 36)],
    "a GitHub app token": ["gh" + "s_" + made(WORD, 36)],
    "a GitHub refresh token": ["gh" + "r_" + made(WORD, 36)],
    "a GitLab token": ["glp" + "at-" + made(WORD, 20)],
    "a Slack bot token": ["xox" + "b-" + made("123456789", 11) + "-" + made("123456789", 12) + "-" + made(WORD, 24)],
    "a Slack user token": ["xox" + "p-" + "-".join(made("123456789", n) for n in (11, 12, 13)) + "-" + made(WORD, 32)],
    "a Slack app token": [
        "xap" + "p-1-" + "A" + made("BCDEF123", 9) + "-" + made("123456789", 13) + "-" + made(HEX, 64)
    ],
    "a Slack webhook": [
        "https://hooks.slack.com/services/T" + made("BCD1234", 8) + "/B" + made(WORD, 9) + "/" + made(WORD, 24)
    ],
    "a Stripe key": ["sk" + "_live_" + made(WORD, 24)],
    "a SendGrid key": ["SG" + "." + made(WORD, 22) + "." + made(WORD, 43)],
    "a Hugging Face token": ["hf" + "_" + made(LETTERS, 34)],
    "a Groq API key": ["gs" + "k_" + made(WORD, 52)],
    "an xAI API key": ["xa" + "i-" + made(WORD, 80)],
    "a Perplexity API key": ["ppl" + "x-" + made(WORD, 48)],
    "an OpenRouter API key": ["sk-" + "or-v1-" + made(HEX, 64)],
    "a Replicate token": ["r8" + "_" + made(WORD, 37)],
    "a LangSmith token": ["lsv2" + "_pt_" + made(HEX, 32) + "_" + made(HEX, 10)],
    "a LangSmith service key": ["lsv2" + "_sk_" + made(HEX, 32) + "_" + made(HEX, 10)],
    "a Databricks token": ["dap" + "i" + made(HEX, 32)],
    "a Pinecone API key": ["pcs" + "k_" + made(WORD, 6) + "_" + made(WORD, 63)],
    "an NVIDIA API key": ["nva" + "pi-" + made(WORD + "_-", 63) + "k"],
    "an npm token": ["np" + "m_" + made(WORD, 36)],
    "a PyPI token": ["pyp" + "i-AgEIcHlwaS5vcmc" + made(WORD, 100)],
    "a private key": ["-----BEGIN " + "RSA PRIVATE KEY-----\n" + PEM + "\n-----END RSA PRIVATE KEY-----"],
    "a Langfuse secret key": ["sk-" + "lf-" + "-".join(made(HEX, n) for n in (8, 4, 4, 4, 12))],
    "an Authorization header": [
        "Authorization: " + "Bearer " + made(WORD, 32),
        '{"authorization": "' + "Basic " + made(WORD, 22) + '=="}',
        json.dumps(json.dumps({"Authorization": "Bearer " + made(WORD, 32)})),
        *in_pairs("Authorization", "Bearer " + made(WORD, 32)),
        "HTTP_AUTHORIZATION=" + "Basic " + made(WORD, 22),
    ],
    "a URL with a password": [
        "postgresql://bot:" + made(WORD, 9) + "@db.internal:5432/bot",
        "redis://:" + made(WORD, 9) + "@cache:6379/0",
    ],
    "an AWS secret access key": [
        "AWS_SECRET_" + "ACCESS_KEY=" + made(WORD + "+/", 40),
        '{"SecretAccess' + 'Key": "' + made(WORD + "+/", 40) + '"}',
        "the AWS secret access key is " + made(WORD + "+/", 40) + ".",
        *in_pairs("AWS_SECRET_ACCESS" + "_KEY", made(WORD + "+/", 40)),
    ],
    "a Google OAuth token": ["ya2" + "9." + made(WORD + "_-", 60)],
}
CONTEXTS = {
    "alone": lambda key: key,
    "JSON": lambda key: json.dumps({"args": [{"role": "user", "content": f"use {key}"}], "kwargs": {}}),
    "environment": lambda key: f"PATH=/usr/bin\nKEY={key}\nHOME=/root\n",
    "prose": lambda key: f"Sure! I set the key ({key}), and it works.",
}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in KEYS.items() for key in keys])
def test_each_kind_in_each_context(kind, key, context):
    text = CONTEXTS[context](key)
    found = [secret.kind for secret in secrets(text)]
    # A key in a header is both.
    assert kind in found, (kind, context)
    assert may_hold_secret(text)


def test_every_pattern_has_a_key():
    assert {kind for kind, _, _ in (*TABLE, *scan._OWN)} == set(KEYS)
    assert len(TABLE) == 34


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The capital of France is Paris. internationalization, counterrevolutionaries, 3.14159265358979",
        "https://example.com/v1/chat/completions?user=me@example.com",
        "mailto:someone@example.com and http://localhost:8080/@me",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736, span 00f067aa0ba902b7, session 3f2b8c1e-7d64-4f0a-9a51-0c2d6e8b7a90",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "gpt-4o-2024-08-06 claude-3-5-sonnet-20241022 text-embedding-3-large",
        "export OPENAI_API_KEY=sk-proj-your-key-here",
        "OPENAI_API_KEY=sk-...",
        "AKIAIOSFODNN7" + "EXAMPLE",
        "authorization, bearer authentication-schemes and authorization value tokens",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
        "gh" + "p_" + "x" * 36,
        "sk-lf-" + "1234567890abcdef1234",
        "postgres://postgres:postgres@localhost:5432/app",
        "postgres://user:password@db/app and redis://:secret@cache",
        "mysql://root:${DB_PASSWORD}@db/app, mysql://root:<password>@db/app, amqp://guest:{pw}@mq",
        "Authorization: Bearer YOUR_ACCESS_TOKEN_HERE",
        'headers = {"Authorization": "Bearer <access-token-of-user>"}',
        "Authorization: Bearer [REDACTED-BY-MASKING]",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
        "-----BEGIN PRIVATE KEY----- is how such a file begins",
        "@@@langfuseMedia:type=image/jpeg|id=cc48838a-3da8-4ca4-a007-2cf8df930e69|source=base64@@@",
    ],
)
def test_what_is_not_a_secret(text):
    assert [secret.kind for secret in secrets(text)] == []
    assert [secret.kind for secret in secrets(json.dumps({"content": text}))] == []


def test_a_placeholder_does_not_hide_the_real_one():
    real = KEYS["a GitHub token"][0]
    assert [one.text for one in secrets(f"ghp_{'x' * 36} is an example, {real} is not")] == [real]


def test_secrets_that_overlap_are_hidden_as_one():
    token = KEYS["a GitHub token"][0]
    assert without_secrets(f"to redis://:abc{token}def@cache:6379/0, {token}") == "to ***:6379/0, ***"


def test_text_with_lone_surrogates_is_searched():
    assert [one.kind for one in secrets("\ud800 " + KEYS["a Stripe key"][0])] == ["a Stripe key"]


def test_most_texts_need_no_regular_expression(monkeypatch):
    monkeypatch.setattr(scan, "_patterns", lambda: pytest.fail("not needed"))
    assert list(secrets("What is the capital of France, and how many people live there? " * 1000)) == []


def test_the_table_looks_like_no_secret():
    for path in ("pytest_langfuse/rules/secrets/betterleaks.py", "tests/rules/test_secrets.py", "docs/rules/LF010.md"):
        assert list(secrets((ROOT / path).read_text())) == []
