"""Why a test captured nothing: facts about settings, clients, fixtures and other tests, and nothing that is guessed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY

#: Names in one sentence.
_NAMES: Final = 3
#: Tests and fixtures, each a sentence.
_SENTENCES: Final = 3
_KEYS: Final = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")


class KnownClient(NamedTuple):
    """A Langfuse client of this process."""

    public_key: str
    tracing: bool


class WiderFixture(NamedTuple):
    """A fixture that more than one test uses, and what it made when it was set up, or torn down, in `test`.

    `node` is the id of what it was set up for: a class, a module, a package, or empty for the session. `param` is the
    number of its parameter. `set_up`, an id of a span, is the same for all that it makes until it is torn down.
    """

    name: str
    scope: str
    test: str
    made: Sequence[str]
    node: str = ""
    param: int | None = None
    set_up: str = ""


class EarlierTest(NamedTuple):
    """A test that has ended, and names of what it made."""

    test: str
    made: Sequence[str]


def why_nothing(
    *,
    sought: Callable[[str], bool],
    clients: Sequence[KnownClient],
    fixtures: Sequence[WiderFixture],
    earlier: Iterable[EarlierTest],
) -> list[str]:
    """Return what is known that bears on it, a sentence each, for a test in which no observation started.

    `sought` says which names the test looks for. `clients` are those that `get_client()` finds, `fixtures` the wider
    ones that are still in use, `earlier` the tests that ended before.
    """
    made_by_fixtures = {(fixture.test, name) for fixture in fixtures for name in fixture.made}
    by_tests = [
        EarlierTest(test, found)
        for test, made in earlier
        if (found := [name for name in made if sought(name) and (test, name) not in made_by_fixtures])
    ]
    facts = [
        *(_of_fixture(fixture) for fixture in fixtures[-_SENTENCES:]),
        *_off(clients),
        *_several(clients),
        *_no_keys(clients),
    ]
    # Many tests make observations of one name: worth a thought only where nothing else is known.
    return facts or [
        f"{listed(made)} {_was(made)} made in {test}: is a result kept there?" for test, made in by_tests[-1:]
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `` `a`, `b` and 2 more``."""
    shown = [f"`{name}`" for name in dict.fromkeys(names)]
    if len(shown) > _NAMES:
        shown[_NAMES - 1 :] = [f"{len(shown) - _NAMES + 1:,} more"]
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last


def _was(names: Sequence[str]) -> str:
    return "were" if len(set(names)) > 1 else "was"


def _of_fixture(fixture: WiderFixture) -> str:
    whose = "they belong" if len(set(fixture.made)) > 1 else "it belongs"
    return (
        f"{listed(fixture.made)} {_was(fixture.made)} made by the {fixture.scope} fixture `{fixture.name}`, which was "
        f"set up in {fixture.test}: {whose} to that test. Assert there, or give the fixture the scope 'function'."
    )


def _off(clients: Sequence[KnownClient]) -> Iterator[str]:
    # The SDK takes nothing else for off: not "0", and not "no".
    switch = os.environ.get("LANGFUSE_TRACING_ENABLED", "")
    if switch.lower() == "false":
        yield f"Tracing is switched off: LANGFUSE_TRACING_ENABLED is {switch!r}."
    elif off := [client.public_key for client in clients if not client.tracing]:
        yield (
            f"Tracing is switched off in the client {_keys(off)}: it was built with tracing_enabled=False, or while "
            "LANGFUSE_TRACING_ENABLED was 'false'."
        )
    if os.environ.get("OTEL_SDK_DISABLED", "").lower().strip() == "true":
        yield "OpenTelemetry is switched off: OTEL_SDK_DISABLED is 'true'."


def _several(clients: Sequence[KnownClient]) -> Iterator[str]:
    if len(clients) > 1:
        yield (
            f"There are {len(clients)} Langfuse clients ({_keys([client.public_key for client in clients])}): then "
            "get_client() without a public key returns one that makes nothing, and @observe uses that. Pass "
            "public_key=, or langfuse_public_key= to the observed function."
        )


def _no_keys(clients: Sequence[KnownClient]) -> Iterator[str]:
    missing = [name for name in _KEYS if not os.environ.get(name)]
    if any(client.public_key != PLACEHOLDER_PUBLIC_KEY for client in clients):
        return
    if len(missing) == len(_KEYS):
        yield (
            f"The environment has no keys ({' and '.join(missing)}). For an application that traces only where it "
            "finds them, set `langfuse_env_keys = true` in pytest's ini file."
        )
    elif missing:
        yield f"The environment lacks one of the two keys, {missing[0]}: then a client makes nothing."


def _keys(public_keys: Sequence[str]) -> str:
    return ", ".join("one that was built without keys" if key == PLACEHOLDER_PUBLIC_KEY else key for key in public_keys)
