"""Patterns of secrets that begin as their issuers have it. Written by `.ci/secret_table.py`.

From Betterleaks (6381fa4), Copyright (c) 2026 Zachary Rice, MIT: see `LICENSE-betterleaks` beside this file.
"""

from typing import Final

#: Kind, words one of which is in each text with such a secret (in lower case), regular expression.
TABLE: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    (
        "an OpenAI API key",
        ("t3blbkfj",),
        (
            r"\b(sk-(?:proj|svcacct|admin)-(?:[A-Za-z0-9_-]{74}|[A-Za-z0-9_-]{58}|[A-Za-z0-9_-"
            r"]{20})T3BlbkFJ(?:[A-Za-z0-9_-]{74}|[A-Za-z0-9_-]{58}|[A-Za-z0-9_-]{20})\b|sk-[a-"
            r"zA-Z0-9]{20}T3BlbkFJ[a-zA-Z0-9]{20})(?![\w-])"
        ),
    ),
    (
        "an Anthropic API key",
        ("sk-ant-api03",),
        (r"\b(sk-ant-api03-[a-zA-Z0-9_\-]{93}AA)(?![\w-])"),
    ),
    (
        "an Anthropic admin key",
        ("sk-ant-admin01",),
        (r"\b(sk-ant-admin01-[a-zA-Z0-9_\-]{93}AA)(?![\w-])"),
    ),
    (
        "an AWS access key id",
        ("a3t", "akia", "asia", "abia", "acca"),
        (r"\b((?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b"),
    ),
    (
        "an Amazon Bedrock API key",
        ("absk",),
        (r"\b(ABSK[A-Za-z0-9+/]{109,269}={0,2})(?![\w-])"),
    ),
    (
        "a Google API key",
        ("aiza",),
        (r"\b(AIza[\w-]{35})(?![\w-])"),
    ),
    (
        "a Gemini API key",
        ("aq.ab8rn6",),
        (r"\b(AQ\.Ab8RN6[A-Za-z0-9_-]{44})(?![\w-])"),
    ),
    (
        "a GitHub token",
        ("ghp_",),
        (r"ghp_[0-9a-zA-Z]{36}"),
    ),
    (
        "a GitHub token",
        ("github_pat_",),
        (r"github_pat_\w{82}"),
    ),
    (
        "a GitHub OAuth token",
        ("gho_",),
        (r"gho_[0-9a-zA-Z]{36}"),
    ),
    (
        "a GitHub app token",
        ("ghu_", "ghs_"),
        (r"(?:ghu|ghs)_[0-9a-zA-Z]{36}"),
    ),
    (
        "a GitHub refresh token",
        ("ghr_",),
        (r"ghr_[0-9a-zA-Z]{36}"),
    ),
    (
        "a GitLab token",
        ("glpat-",),
        (r"glpat-[\w-]{20}"),
    ),
    (
        "a GitLab token",
        ("glpat-",),
        (r"\bglpat-[0-9a-zA-Z_-]{27,300}\.[0-9a-z]{2}[0-9a-z]{7}\b"),
    ),
    (
        "a Slack bot token",
        ("xoxb",),
        (r"xoxb-[0-9]{10,13}-[0-9]{10,13}[a-zA-Z0-9-]*"),
    ),
    (
        "a Slack user token",
        ("xoxp-", "xoxe-"),
        (r"xox[pe](?:-[0-9]{10,13}){3}-[a-zA-Z0-9-]{28,34}"),
    ),
    (
        "a Slack app token",
        ("xapp",),
        (r"(?i)xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]+"),
    ),
    (
        "a Slack webhook",
        ("hooks.slack.com",),
        (
            r"(?:https?://)?hooks.slack.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{43,5"
            r"6}"
        ),
    ),
    (
        "a Stripe key",
        ("sk_test", "sk_live", "sk_prod", "rk_test", "rk_live", "rk_prod"),
        (r"\b((?:sk|rk)_(?:test|live|prod)_[a-zA-Z0-9]{10,99})(?![\w-])"),
    ),
    (
        "a SendGrid key",
        ("sg.",),
        (r"\b(SG\.(?i:[a-z0-9=_\-\.]{66}))(?![\w-])"),
    ),
    (
        "a Hugging Face token",
        ("hf_",),
        (r"\b(hf_(?i:[a-z]{34}))(?![\w-])"),
    ),
    (
        "a Groq API key",
        ("gsk_",),
        (r"(?i)\b(gsk_[A-Z0-9]{52})(?![\w-])"),
    ),
    (
        "an xAI API key",
        ("xai-",),
        (r"(?i)\b(xai-[A-Za-z0-9_-]{70,120})(?![\w-])"),
    ),
    (
        "a Perplexity API key",
        ("pplx-",),
        (r"\b(pplx-[a-zA-Z0-9]{48})(?![\w-])"),
    ),
    (
        "an OpenRouter API key",
        ("sk-or-v1-",),
        (r"(?i)\b(sk-or-v1-[0-9a-f]{64})(?![\w-])"),
    ),
    (
        "a Replicate token",
        ("r8_",),
        (r"(?i)\b(r8_[A-Za-z0-9]{37})(?![\w-])"),
    ),
    (
        "a LangSmith token",
        ("lsv2_pt_",),
        (r"\b(lsv2_pt_[0-9a-fA-F]{32}_[0-9a-fA-F]{10})"),
    ),
    (
        "a LangSmith service key",
        ("lsv2_sk_",),
        (r"\b(lsv2_sk_[0-9a-fA-F]{32}_[0-9a-fA-F]{10})"),
    ),
    (
        "a Databricks token",
        ("dapi",),
        (r"\b(dapi[a-f0-9]{32}(?:-\d)?)(?![\w-])"),
    ),
    (
        "a Pinecone API key",
        ("pcsk_",),
        (r"\b(pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{63})(?![\w-])"),
    ),
    (
        "an NVIDIA API key",
        ("nvapi-",),
        (r"(?i)\b(nvapi-[A-Z0-9_-]{60,70})(?![\w-])"),
    ),
    (
        "an npm token",
        ("npm_",),
        (r"(?i)\b(npm_[a-z0-9]{36})(?![\w-])"),
    ),
    (
        "a PyPI token",
        ("pypi-ageichlwas5vcmc",),
        (r"pypi-AgEIcHlwaS5vcmc[\w-]{50,1000}"),
    ),
    (
        "a private key",
        ("-----begin",),
        (
            r"(?i)-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----[\s\S-]{64,}?KEY(?: B"
            r"LOCK)?-----"
        ),
    ),
)
