"""Write pytest_langfuse/rules/secrets/betterleaks.py from Betterleaks' table.

`.venv/bin/python .ci/secret_table.py betterleaks.toml COMMIT`, then `make format`. It takes over the rules of keys that
begin with what their issuer puts there: those that go by a label or by entropy have too many false alarms in prose.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "pytest_langfuse/rules/secrets/betterleaks.py"
KINDS = {
    "openai-api-key": "an OpenAI API key",
    "anthropic-api-key": "an Anthropic API key",
    "anthropic-admin-api-key": "an Anthropic admin key",
    "aws-access-token": "an AWS access key id",
    "aws-amazon-bedrock-api-key-long-lived": "an Amazon Bedrock API key",
    "gcp-api-key": "a Google API key",
    "gcp-gemini-api": "a Gemini API key",
    "github-pat": "a GitHub token",
    "github-fine-grained-pat": "a GitHub token",
    "github-oauth": "a GitHub OAuth token",
    "github-app-token": "a GitHub app token",
    "github-refresh-token": "a GitHub refresh token",
    "gitlab-pat": "a GitLab token",
    "gitlab-pat-routable": "a GitLab token",
    "slack-bot-token": "a Slack bot token",
    "slack-user-token": "a Slack user token",
    "slack-app-token": "a Slack app token",
    "slack-webhook-url": "a Slack webhook",
    "stripe-access-token": "a Stripe key",
    "sendgrid-api-token": "a SendGrid key",
    "huggingface-access-token": "a Hugging Face token",
    "groq-api-key": "a Groq API key",
    "xai-api-key": "an xAI API key",
    "perplexity-api-key": "a Perplexity API key",
    "openrouter-api-key": "an OpenRouter API key",
    "replicate-api-token": "a Replicate token",
    "langchain-langsmith-personal-access-token": "a LangSmith token",
    "langchain-langsmith-service-key": "a LangSmith service key",
    "databricks-api-token": "a Databricks token",
    "pinecone-api-key.2": "a Pinecone API key",
    "nvidia-api-key": "an NVIDIA API key",
    "npm-access-token": "an npm token",
    "pypi-upload-token": "a PyPI token",
    "private-key": "a private key",
}
#: The ends of a key in source code; in prose and JSON it ends where its characters do.
_ENDS = re.compile(
    r"""\(\?:(?:\\\\\?)?\['"\\x60\]\|\[\\s;\]\|\\\\\[nr\]\|\$\)$|\(\?:\[\\x60'"\\s;\]\|\\\\\[nr\]\|\$\|\\b\)$"""
)
_HEAD = '''\
"""Patterns of secrets that begin as their issuers have it. Written by `.ci/secret_table.py`.

From Betterleaks ({commit}), Copyright (c) 2026 Zachary Rice, MIT: see `LICENSE-betterleaks` beside this file.
"""

from typing import Final

#: Kind, words one of which is in each text with such a secret (in lower case), regular expression.
TABLE: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
'''


def python_regex(pattern: str) -> str:
    """Return a regular expression of Go's for Python's `re.ASCII`."""
    pattern = _ENDS.sub(r"(?![\\w-])", pattern)
    if (start := pattern.find("(?i)", 1)) < 0:
        return pattern
    # Go switches to any case up to the end of the group.
    depth, end = 0, len(pattern)
    for index in range(start + 4, len(pattern)):
        depth += (pattern[index] == "(") - (pattern[index] == ")")
        if depth < 0:
            end = index
            break
    return f"{pattern[:start]}(?i:{pattern[start + 4 : end]}){pattern[end:]}"


def main(table: str, commit: str) -> None:
    """Write the module."""
    rules: dict[str, Any] = {rule["id"]: rule for rule in tomllib.loads(Path(table).read_text())["rules"]}
    rows = []
    for identifier, kind in KINDS.items():
        rule = rules[identifier]
        pattern = python_regex(rule["regex"])
        re.compile(pattern, re.ASCII)
        pieces = "\n".join(f'        r"{piece}"' for piece in re.findall(r".{1,80}(?<!\\)", pattern))
        rows.append(f"    (\n        {kind!r},\n        {tuple(rule['keywords'])!r},\n({pieces}),\n    ),")
    TARGET.write_text(_HEAD.format(commit=commit) + "\n".join(rows) + "\n)\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
