"""Which variables hold a secret: both sides of each exception, since one that is too wide shows a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_langfuse.rules.secrets.environment_keys import SHORTEST, EnvironmentKeys
from pytest_langfuse.rules.secrets.key_names import is_key
from pytest_langfuse.rules.secrets.redactor import Redactor

RANDOM = "Zt7kd83HqLw0zz81QQ"
WORDS = "correct horse battery staple"
BASE64 = "/9j4AAQSkZJRgABAQE/ASABIAAD+2wBDAAMC=="

#: Names of secrets: whatever the value looks like, it is one.
SECRETS = (
    "DB_PASSWORD",
    "PGPASSWORD",
    "MYSQL_ROOT_PASSWORD",
    "DBPASSWD",
    "SSH_PASSPHRASE",
    "OPENAI_API_KEY",
    "OPENAI_APIKEY",
    "API_KEYS",
    "API_KEY_2",
    "API_KEY_PROD",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "SSL_PRIVATE_KEY",
    "LANGFUSE_SECRET_KEY",
    "SECRET_KEY_BASE",
    "SECRETS",
    "CLIENT_SECRET",
    "CLIENT_SECRET_VALUE",
    "VAULT_SECRET_ID",
    "GITHUB_TOKEN",
    "GITHUBTOKEN",
    "TOKEN",
    "TOKEN_SECRET",
    "TOKEN_URL_SECRET",
    "TOKEN_LIMIT_PASSWORD",
    "TOKENIZER_API_KEY",
    "MAX_TOKENS_API_KEY",
    "SECRETARY_PASSWORD",
    "PASSWORD_HASH",
    "PASSWORD_HINT",
    "API_TOKENS",
    "BACKUP_TOKENS",
    "TOKEN_PIN",
    "SECRET_FILE_CONTENT",
    "clientSecret",
    "apiKey",
    "access-token",
    "secret.key",
)
VALUES = (
    RANDOM,
    WORDS,
    BASE64,
    "gpt-4o-2024-08-06",
    "123456789012",
    "1234567890123456",
    "https://example.com/path",
    "https://user:hunter2222@example.com",
    "/no/such/folder/of/it",
    "relative/folder/of/it",
    "2026-11-27T19:38:29Z",
    "true,true,true",
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_one_whatever_it_looks_like(name: str) -> None:
    assert [value for value in VALUES if not is_key(name, value)] == []
    assert all(is_key(name.lower(), value) for value in VALUES if "_" in name)


@pytest.mark.parametrize(
    ("name", "innocent", "secret"),
    [
        # What models read and write; a count is a number.
        ("MAX_TOKENS", ("123456789012", "1,000,000,000"), (RANDOM, WORDS, "123456,789012")),
        ("MAX_TOKENS_PER_MINUTE", ("123456789012",), (RANDOM, WORDS)),
        ("maxTokens", ("123456789012",), (RANDOM,)),
        ("MAXTOKENS", ("123456789012",), (RANDOM,)),
        ("MAX_TOKEN", ("123456789012",), (RANDOM,)),
        ("PROMPT_TOKENS", ("123456789012",), (RANDOM,)),
        ("TOKEN_LIMIT", ("123456789012", "100000000.50"), (RANDOM, WORDS, "1234-5678-9012")),
        ("TOKEN_EXPIRES_AT", ("2026-11-27T19:38:29Z",), (RANDOM, "2026-correct-horse")),
        ("PASSWORD_MIN_LENGTH", ("000000000012",), (RANDOM, WORDS)),
        ("EOS_TOKEN", ("<|endoftext|>", "<|end of text|>, </s>"), (RANDOM, "<correct horse", "123456789012")),
        ("STOP_TOKENS", ("<|im_start|>,<|im_end|>", "[PAD] [MASK] </s>"), (RANDOM, WORDS)),
        # Places: a path, not what stands in a file.
        ("TOKEN_PATH", ("/data/user/project", "C:\\Users\\me\\token.txt", "certs/token.json"), (RANDOM, WORDS, BASE64)),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", ("/var/run/secrets/eks.amazonaws.com/token",), (RANDOM, BASE64)),
        ("PRIVATE_KEY_FILE", ("~/.ssh/id_ed25519",), (RANDOM, WORDS)),
        ("DB_PASSWORD_FILE", ("/run/secrets/db_password",), ("hunter-two-three", WORDS, "/hunter2222hunter2222/")),
        ("SECRETS_DIR", ("/run/secrets/app",), (RANDOM,)),
        # A URL, and none with a place for credentials.
        (
            "TOKEN_URL",
            ("https://example.com", "https://auth.example.org:8443/oauth2/v1/token", "auth.example.org:443"),
            (
                "https://user:hunter22@example.com/",
                "https://token@example.com/",
                "https://example.com/?token=abc",
                "https://example.com/#access_token=abc",
                "https://hooks.example.com/services/T0/B0/aB3dE6fG9hJ2kL5m",
                f"https://example.com/{RANDOM}",
                "https://example.com/00112233445566778899",
                RANDOM,
                WORDS,
            ),
        ),
        ("token_uri", ("https://oauth2.googleapis.com/token",), ("https://example.com/?code=1",)),
        ("TOKEN_ENDPOINT", ("https://example.com/oauth/token",), ("postgresql://app:hunter22@db/x",)),
        # Names: words and small numbers.
        ("X_TOKEN_MODEL", ("claude-sonnet-4-5-20250929", "meta-llama/Llama-3.3-70B-Instruct"), (RANDOM,)),
        ("TOKEN_MODEL", ("mistralai/Mixtral-8x7B-Instruct", "qwen2.5-coder:32b-instruct"), ("a1B2c3D4e5F6",)),
        ("SECRET_NAME", ("production/database", "my-app-secrets"), (RANDOM, "12345678901234", "a@example.org:x")),
        ("SECRET_NAME", ("TestDevelopment", "DataProcessingPipeline"), ("qZxKpLmNbVcXaSdF", "0123456789abcdef")),
        ("API_KEY_HEADER", ("X-Internal-Api-Key",), (f"Authorization: Bearer {WORDS}", f"X-Key:{RANDOM}")),
        ("TOKEN_SCOPE", ("openid profile email",), (RANDOM,)),
        ("TOKENTYPE", ("bearer-and-more",), (RANDOM,)),
        ("TOKEN_MODEL_2", ("claude-sonnet-4-5-20250929",), (RANDOM,)),
    ],
)
def test_what_a_name_speaks_of_decides_what_is_none(
    name: str, innocent: tuple[str, ...], secret: tuple[str, ...]
) -> None:
    assert [value for value in innocent if is_key(name, value)] == []
    assert [value for value in secret if not is_key(name, value)] == []
    # Each is long enough to count.
    assert min(map(len, (*innocent, *secret))) >= SHORTEST


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZER_MODEL",
        "TOKENIZERS_PARALLELISM",
        "TOKENISATION",
        "DETOKENIZE",
        "TOKENOMICS",
        "SECRETARY",
        "SECRETARIAT_NAME",
        "LANGFUSE_PUBLIC_KEY",
        "KEYBOARD",
        "API_KEYBOARD",
        "MONKEY",
        "HOTKEY",
        "PRIMARY_KEY",
        "CACHE_KEY",
        "KEY",
        "ACCESS_KEYWORDS",
    ],
)
def test_other_words_are_no_secrets(name: str) -> None:
    assert [value for value in VALUES if is_key(name, value)] == []


def test_the_path_of_a_file_is_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "a1B2c3D4e5F6g7H8.pem"
    for name in ("SSL_PRIVATE_KEY", "TOKEN", "TOKEN_PATH", "TOKEN_CACHE"):
        assert is_key(name, str(file))
    file.touch()
    for name in ("SSL_PRIVATE_KEY", "TOKEN", "TOKEN_PATH", "TOKEN_CACHE"):
        assert not is_key(name, str(file))
        assert is_key(name, file.name)
    for value in ("/\0" + RANDOM, "/\udcff\ud800" + RANDOM, "/" * 5_000 + RANDOM):
        assert is_key("SSL_PRIVATE_KEY", value)


def test_what_is_innocent_stays_in_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = EnvironmentKeys()
    for name, value in (
        ("TOKENIZER_MODEL", "gpt-4o-2024-08-06"),
        ("MAX_TOKENS_PER_MINUTE", "123456789012"),
        ("TOKEN_PATH", "/data/user/project"),
        ("TOKEN_URL", "https://example.com"),
    ):
        keys.note(name, value)
        assert Redactor(keys).text(f"see {value}.") == f"see {value}."
    keys.note("DB_PASSWORD", WORDS)
    keys.note("A_TOKEN", "123456789012")
    assert Redactor(keys).text(f"{WORDS}, 123456789012") == "[redacted: DB_PASSWORD], [redacted: A_TOKEN]"


def test_what_is_innocent_in_json_stays() -> None:
    account = {
        "type": "service_account",
        "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n",
        "token_uri": "https://oauth2.googleapis.com/token",
        "clientSecret": WORDS,
    }
    keys = EnvironmentKeys()
    keys.note("GOOGLE_SECRET", json.dumps(account))
    text = Redactor(keys).text
    for innocent in ("https://oauth2.googleapis.com/token", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"):
        assert text(f"see {innocent}\n") == f"see {innocent}\n"
    for secret in (WORDS, "MIIEvQIBADANBgkqhkiG9w0B", str(account["private_key"])):
        assert text(f"see {secret}") == "see [redacted: GOOGLE_SECRET]"
