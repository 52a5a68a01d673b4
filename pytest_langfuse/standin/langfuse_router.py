"""A `respx.MockRouter` over the stand-in: a test's routes come first, the stand-in answers everything else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import httpx
import respx
from respx.models import AllMockedAssertionError, Call, CallList, PassThrough

from pytest_langfuse import arguments
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.recording.http.in_process import AsyncHandler, Handler
from pytest_langfuse.standin.adds_prompts import AddsPrompts
from pytest_langfuse.standin.endpoints.stored_prompt import StoredPrompt
from pytest_langfuse.standin.stand_in import StandIn


@exported_by("pytest_langfuse")
class LangfuseRouter(AddsPrompts, respx.MockRouter):
    """Routes for Langfuse's API.

    A route without a host (`langfuse_api.post("/api/public/scores")`) matches every Langfuse. The stand-in answers a
    request that no route matches, or whose route passes it through (`route.pass_through()`). `calls` has all of them.
    The router patches nothing: other `respx` routers of the test neither see Langfuse's requests nor need to know of
    them.

    Raises:
        TypeError: an argument is of the wrong type.
    """

    def __init__(self, stand_in: StandIn, *, assert_all_called: bool = False) -> None:
        __tracebackhide__ = True
        arguments.instance("LangfuseRouter", "stand_in", stand_in, StandIn, "a StandIn")
        arguments.instance("LangfuseRouter", "assert_all_called", assert_all_called, bool, "True or False")
        super().__init__(assert_all_called=assert_all_called, assert_all_mocked=True, using=None)
        self.stand_in = stand_in
        #: Returns what answers requests without a route; called for each, since an outage may begin in between.
        self.base_handler: Callable[[], Handler | None] = lambda: stand_in
        self._stack = ExitStack()

    def add_prompt(self, prompt: StoredPrompt) -> StoredPrompt:
        """Add a prompt to the stand-in, for this test; see `prompt`."""
        return self.stand_in.add_prompt(prompt)

    @property
    def handler(self) -> RouterHandler:
        """The handler for requests of synchronous and asynchronous clients."""
        return RouterHandler(self)

    def start(self) -> None:
        """Begin a test: its routes, calls and prompts last until `stop`."""
        self._stack.enter_context(self.stand_in.prompts_restored())
        super().start()

    def stop(self, clear: bool = True, reset: bool = True, quiet: bool = False) -> None:  # noqa: FBT001, FBT002 - respx
        """End a test and restore routes, calls and prompts.

        Raises:
            AssertionError: a route was not called, with `assert_all_called`.
        """
        with self._stack:
            super().stop(clear=clear, reset=reset, quiet=quiet)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.stop(quiet=exc_type is not None)

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Return the answer of the stand-in; during an outage, raise what httpx raises."""
        handler = self.base_handler()
        return (handler(request) if handler is not None else None) or self.stand_in(request)

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        """Do what `answer` does, for an asynchronous client."""
        handler = self.base_handler()
        if isinstance(handler, AsyncHandler):
            return await handler.answer_async(request) or self.stand_in(request)
        return self.answer(request)

    def note(self, request: httpx.Request, response: httpx.Response, passed: PassThrough | None) -> httpx.Response:
        """Add the call to `calls`. `passed` is what respx raised if the route passes the request through."""
        if passed is None:
            self.record(request, response=response)
            return response
        # respx has recorded the call, without a response.
        for calls in (self.calls, passed.origin.calls):
            _complete(calls, request, response)
        return response


class RouterHandler:
    """An `AsyncHandler` over the router."""

    def __init__(self, router: LangfuseRouter) -> None:
        self._router = router

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a synchronous client. Raises the `side_effect` of a route."""
        passed: PassThrough | None = None
        try:
            return _response(self._router.resolve(request).response)
        except AllMockedAssertionError:
            pass
        except PassThrough as by_route:
            passed = by_route
        return self._router.note(request, self._router.answer(request), passed)

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        """Answer an asynchronous client; a side effect may be a coroutine function."""
        passed: PassThrough | None = None
        try:
            return _response((await self._router.aresolve(request)).response)
        except AllMockedAssertionError:
            pass
        except PassThrough as by_route:
            passed = by_route
        return self._router.note(request, await self._router.answer_async(request), passed)


def _response(resolved: object) -> httpx.Response:
    assert isinstance(resolved, httpx.Response)  # noqa: S101 - respx has checked it
    return resolved


def _complete(calls: CallList, request: httpx.Request, response: httpx.Response) -> None:
    for index in range(len(calls) - 1, -1, -1):
        if calls[index].request is request:
            calls[index] = Call(request=request, optional_response=response)
            return
