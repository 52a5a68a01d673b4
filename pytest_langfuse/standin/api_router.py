"""The router that `langfuse_api` gives, if `respx` is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_langfuse.standin.stand_in import StandIn

if TYPE_CHECKING:
    from pytest_langfuse.standin.langfuse_router import LangfuseRouter as LangfuseRouter  # noqa: PLC0414 - an export


def build_router(stand_in: StandIn, *, assert_all_called: bool = False) -> LangfuseRouter:
    """Return a router over `stand_in`: a context manager, like every `respx.MockRouter`.

    Fails the test with one sentence if `respx` is not installed. It is an extra because it registers a pytest plugin
    that imports httpx into every run.
    """
    try:
        from pytest_langfuse.standin.langfuse_router import LangfuseRouter
    except ModuleNotFoundError as error:
        if error.name != "respx":
            raise
        LangfuseRouter = None  # type: ignore[assignment, misc] # noqa: N806 - a class that is missing
    if LangfuseRouter is None:
        # Not in the except block, whose traceback would be shown, too.
        pytest.fail("langfuse_api needs respx: pip install 'pytest-langfuse[respx]'", pytrace=False)
    return LangfuseRouter(stand_in, assert_all_called=assert_all_called)
