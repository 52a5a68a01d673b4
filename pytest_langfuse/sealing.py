"""The second line of a captured run: what the hooks on the SDK don't see can't connect to the real Langfuse either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_langfuse.process.sealed_children import SealedChildren
from pytest_langfuse.process.sealed_environment import handed_over
from pytest_langfuse.recording.grpc_guard import GrpcGuard
from pytest_langfuse.recording.network_guard import NetworkGuard
from pytest_langfuse.recording.sdk import GRPC_EXPORTERS, exporter_endpoint, hooks
from pytest_langfuse.standin.http.accepting_server import AcceptingServer
from pytest_langfuse.standin.http.listener import is_stand_in

if TYPE_CHECKING:
    from pytest_langfuse.recording.network_guard import RefusedConnection
    from pytest_langfuse.recording.recorder import Recorder
    from pytest_langfuse.standin.http.http_server import Answer


@contextmanager
def sealed(
    recorder: Recorder,
    *,
    url_of_test: Callable[[], str | None],
    refused: Callable[[RefusedConnection], None],
    refusals_of_children: Callable[[], str],
    queues_of_children: Callable[[Mapping[str, str]], Mapping[str, str]],
    answer: Answer,
    last: Callable[[], bool],
) -> Iterator[None]:
    """Guard the sockets of this process and seal the processes that it starts, inside the block.

    `answer` answers what these ask where the running test uses no server.
    `url_of_test` returns the address of the server that the running test uses; `refused` is told of each connection
    that was refused; `refusals_of_children` returns the file in which a child process notes those in it, and
    `queues_of_children` the variables that name its queues, by those that it was to get. Where `last()` says at the end
    that nothing can follow but the process's exit, what captured tests have left behind stays sealed until then.
    """
    left = False

    def is_captive() -> bool:
        return (left and recorder.everything) or hooks.is_captive()

    accepting = AcceptingServer(answer)

    def url_for_children() -> str | None:
        return (url_of_test() or accepting.start().url) if is_captive() else None

    def variables_for_children(variables: Mapping[str, str]) -> dict[str, str]:
        return {**handed_over(guard.known_endpoints(), refusals_of_children()), **queues_of_children(variables)}

    guard = NetworkGuard(is_captive=is_captive, addresses=hooks.addresses, is_stand_in=is_stand_in, refused=refused)
    grpc_guard = GrpcGuard(GRPC_EXPORTERS, guard.refuse, exporter_endpoint)
    children = SealedChildren(url_for_children, variables_for_children)
    guard.install()
    grpc_guard.install()
    children.install()
    try:
        yield
    finally:
        if last():
            left = True
        else:
            children.uninstall()
            grpc_guard.uninstall()
            guard.uninstall()
            accepting.stop()
