"""Clients that are built before capture starts."""

from __future__ import annotations

import gc
import weakref

import pytest

from pytest_langfuse.recording.early_clients import EarlyClients


class Client:
    """A stand-in for `Langfuse`, whose construction is cheap."""

    def __init__(self, *, public_key: str | None = None, timeout: int = 5) -> None:
        self.public_key, self.timeout = public_key, timeout


ORIGINAL = Client.__init__


@pytest.fixture
def early():
    early = EarlyClients(Client)
    yield early
    early.stop()
    assert Client.__init__ is ORIGINAL


def test_the_arguments_of_clients_are_remembered(early):
    client = Client(public_key="pk", timeout=3)
    assert early.arguments[client] == {"public_key": "pk", "timeout": 3}


@pytest.mark.slow
def test_a_client_is_not_kept_alive(early):
    client = weakref.ref(Client(public_key="pk"))
    gc.collect()
    assert client() is None
    assert len(early.arguments) == 0


def test_a_client_whose_constructor_fails_is_not_remembered(early):
    with pytest.raises(TypeError):
        Client(unknown=1)
    assert len(early.arguments) == 0


def test_the_constructor_is_wrapped_until_stop(early):
    assert Client.__init__.__wrapped__ is ORIGINAL
    early.stop()
    assert Client() not in early.arguments


def test_a_hook_that_came_later_stays(early, monkeypatch):
    def hook(client, **settings):
        ORIGINAL(client, **settings)

    monkeypatch.setattr(Client, "__init__", hook)
    early.stop()
    assert Client.__init__ is hook
