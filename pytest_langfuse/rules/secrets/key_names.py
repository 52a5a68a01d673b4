"""The names of variables that hold a secret; where a name speaks of something else, the value decides, too.

A value alone never says that it is none: a password may be a number, some words or look like a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Final

#: Words of names that mean a secret, also glued to others (`PGPASSWORD`), but not the beginnings of other words.
_SECRET: Final = re.compile(
    r"(?:SECRET(?!ARY|ARI|ION|IVE)|TOKEN(?!I[SZ]|OMIC)|PASSWORD|PASSWD|PASSPHRASE"
    r"|(?:API|ACCESS|PRIVATE)_?KEY(?!BOARD|NOTE|PAD|STROKE|WORD))S?"
)
#: `clientSecret`, `APIKey`: the words of names in JSON.
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
#: Words beside "tokens" that make credentials of them. Otherwise they are what models read and write.
_CREDENTIAL: Final = re.compile(
    "ACCESS|ADMIN|ALLOWED|API|AUTH|BACKUP|BEARER|CSRF|LOGIN|OTP|RECOVERY|REFRESH|RESET|SESSION|USER|VALID"
)
_MOST: Final = re.compile("LIMIT|MAX|MAXIMUM|MIN|MINIMUM|NUM|TOTAL")

_NUMBER: Final = re.compile(r"\d{1,3}(?:[_,]\d{3})+|\d+(?:\.\d*)?")
#: `2026-11-27T19:38:29Z`, `1:30:00`.
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.]{1,20}(?:Z|[+-]\d\d:?\d\d)?)?|\d{1,9}(?::\d\d){1,3}")
#: `<|endoftext|>`, `</s>`, `[PAD]`, or several.
_SPECIAL_TOKENS: Final = re.compile(r"(?:(?:<\|[\w ]{1,40}\|>|</?[a-z_]{1,12}>|\[[A-Z]{1,8}\])[\s,]{0,4}){1,20}")
_PATH: Final = re.compile(r"(?=.*[/\\.])[\w .~/\\:+@()-]+")
_URL: Final = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?[\w.:/~-]+", re.IGNORECASE)
#: A model, a header, the words of a scope.
_NAME: Final = re.compile(r"[\w./, +-]{1,200}(?::[\w./+-]{1,100}){0,8}")
_ABSOLUTE: Final = re.compile(r"/|~/|[A-Za-z]:[/\\]")


def is_key(name: str, value: str) -> bool:
    """Return whether a variable, or a field of JSON, is one whose value nobody should read.

    What the last secret word of the name says counts, and what stands behind that: `DB_PASSWORD` is a secret, whatever
    it looks like, but `TOKEN_LIMIT` only if it is anything but a number, and `TOKEN_URL` if it has credentials.
    """
    words = _CAMEL.sub("_", name).replace("-", "_").replace(".", "_").upper()
    found = list(_SECRET.finditer(words))
    if not found:
        return False
    last = found[-1]
    behind = [word for word in words[last.end() :].split("_") if word and not word.isdecimal()]
    if behind:
        looks = next((looks for ends, looks in _LOOKS if ends.fullmatch(behind[-1])), None)
        if looks is not None:
            return not looks(value)
    elif last[0].startswith("TOKEN"):
        before = words[: last.start()].split("_")
        if last[0] == "TOKEN":
            is_count = any(map(_MOST.fullmatch, before))
        else:
            is_count = not any(map(_CREDENTIAL.fullmatch, before))
        if (is_count and _NUMBER.fullmatch(value)) or _SPECIAL_TOKENS.fullmatch(value):
            return False
    # Who names a file has the secret in there.
    return not _exists(value)


def _is_count(value: str) -> bool:
    return _NUMBER.fullmatch(value) is not None or _TIME.fullmatch(value) is not None


def _is_path(value: str) -> bool:
    return (_PATH.fullmatch(value) is not None and _is_readable(value)) or _exists(value)


def _is_url(value: str) -> bool:
    """Return whether a URL, or a host, has no place for credentials: no user, query or fragment, nothing random."""
    return _URL.fullmatch(value) is not None and _is_readable(value)


def _is_name(value: str) -> bool:
    return _NAME.fullmatch(value) is not None and _is_readable(value)


#: The last words of names that speak of something else, and whether a value is that.
_LOOKS: Final[Sequence[tuple[re.Pattern[str], Callable[[str], bool]]]] = (
    (
        re.compile(
            "AGE|AT|BUDGET|COST|COUNT|DAYS|EXPIRATION|EXPIRES|EXPIRY|HOURS|IN|LEN|LENGTH|LIFETIME|LIMIT"
            "|LIMITS|MAX|MIN|MINUTE|MINUTES|MS|PRICE|QUOTA|RATE|SEC|SECOND|SECONDS|SIZE|THRESHOLD|TIMEOUT"
            "|TTL|USAGE|WINDOW"
        ),
        _is_count,
    ),
    (re.compile("DIR|DIRECTORY|FILE|FILENAME|FOLDER|LOCATION|PATH|PATHS"), _is_path),
    (re.compile("AUDIENCE|DOMAIN|ENDPOINT|HOST|HOSTNAME|ISSUER|SERVER|URI|URL"), _is_url),
    (
        re.compile(
            "ALG|ALGORITHM|BACKEND|CLASS|COUNTER|ENABLED|ENCODER|ENCODING|ENGINE|FIELD|FORMAT|HEADER|KIND"
            "|METHOD|MODE|MODEL|MODULE|NAME|NAMES|NAMESPACE|PARAM|PARAMETER|POLICY|PROVIDER|REGION|REQUIRED"
            "|SCOPE|SCOPES|STATUS|STORE|STRATEGY|TYPE|VERSION"
        ),
        _is_name,
    ),
)


def _exists(value: str) -> bool:
    """Return whether a value is the absolute path of something that is there; a random one is not."""
    return _ABSOLUTE.match(value) is not None and os.path.exists(os.path.expanduser(value))  # noqa: PTH110, PTH111


# -- words and random letters ------------------------------------------------------------------------------------

_RUN: Final = re.compile(r"[A-Za-z0-9]+")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PIECE: Final = re.compile(r"[A-Za-z]+|\d+")
#: Digits of a date.
_DIGITS: Final = 8
_SHORT, _MIXED, _LETTERS = 6, 10, 24
#: Letters of a word, on the average.
_OF_WORD: Final = 3


def _is_readable(text: str) -> bool:
    """Return whether a text is made of words and small numbers, as names of models and files are: no random letters."""
    return all(map(_is_readable_run, _RUN.findall(text)))


def _is_readable_run(run: str) -> bool:
    if run.isdecimal():
        return len(run) <= _DIGITS
    if run.isalpha():
        return len(run) <= _SHORT or _OF_WORD * len(_WORD.findall(run)) <= len(run) <= _LETTERS
    # `4o`, `Qwen2`, `o200k`, but not `a1B2c3`.
    pieces = len(_PIECE.findall(run))
    return len(run) <= _MIXED and (pieces <= _OF_WORD or len(run) == pieces == _OF_WORD + 1)
