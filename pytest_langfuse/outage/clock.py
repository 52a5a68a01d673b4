"""The clock of `langfuse_clock`: a test moves it for the app, the circuit breaker and the SDK's cache of prompts.

freezegun replaces the clock functions of every module. If they were frozen for the SDK, urllib3, httpx, asyncio or
threading, a timeout would never come, or a loop that waits for it would spin. These keep the real clock. What counts is
the module that *calls* the clock, so the app's code is frozen in a thread, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from pytest_langfuse import arguments
from pytest_langfuse.lazy import exported_by

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

#: The folders of this package whose clock a test moves: what the app runs in production.
_FROZEN = frozenset({"tracing"})


def _own_real_time_modules() -> list[str]:
    """Return the modules of this package, except `_FROZEN`."""
    package = Path(__file__).parents[1]
    root = __name__.partition(".")[0]
    return [f"{root}.{module.name}" for module in iter_modules([str(package)]) if module.name not in _FROZEN]


def _modules_beside(module: str) -> Iterator[str]:
    """Yield the modules of a package that, with those below them, are all of the package except `module`."""
    package, *below = module.split(".")
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for part in below:
        yield from (f"{package}.{other.name}" for other in iter_modules(folders) if other.name != part)
        package, folders = f"{package}.{part}", [str(Path(folder) / part) for folder in folders]


#: Modules (and those below them) whose own timers go on in real time; those of the SDK are added later.
REAL_TIME_MODULES = (
    *_own_real_time_modules(),
    "_pytest",
    "aiohttp",
    "aiokafka",
    "anyio",
    "asyncio",
    "backoff",
    "boto3",
    "botocore",
    "concurrent",
    "confluent_kafka",
    "execnet",
    "google.protobuf",
    "grpc",
    "gunicorn",
    "h11",
    "h2",
    "http",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "multiprocessing",
    "openai",
    "opentelemetry",
    "pluggy",
    "queue",
    "requests",
    "sched",
    "selectors",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "tenacity",
    "trio",
    "urllib",
    "urllib3",
    "uvicorn",
    "uvloop",
    "wsgiref",
    "xdist",
)


@exported_by("pytest_langfuse")
class Clock:
    """The frozen clock of a test. It stands still until `advance`.

    The app, the circuit breaker and the SDK's cache of prompts see it: a cached prompt expires when the clock moves.
    """

    def __init__(self, frozen: FrozenDateTimeFactory) -> None:
        self._frozen = frozen

    @property
    def now(self) -> datetime:
        """The time that the app sees, in UTC."""
        return self._frozen().replace(tzinfo=UTC)

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`.

        Raises:
            ValueError: `seconds` is negative (a monotonic clock can't go back), or leads beyond the year 9999.
            TypeError: `seconds` is not a number.
        """
        __tracebackhide__ = True
        most = int((datetime.max.replace(tzinfo=UTC) - self.now).total_seconds())
        call = "langfuse_clock.advance"
        arguments.number(call, "seconds", seconds, least=-arguments.LARGEST, most=most)
        if seconds < 0:
            raise ValueError(f"{call}(seconds={seconds}): a clock does not go back, use seconds >= 0")
        self._frozen.tick(timedelta(seconds=seconds))


@contextmanager
def frozen_clock() -> Iterator[Clock]:
    """Freeze the clock of the app at the current time, inside the block."""
    # Imported here: only a test that uses the clock pays for it.
    from freezegun import api, freeze_time

    from pytest_langfuse.recording.sdk import PROMPT_CACHE

    real_time = (*REAL_TIME_MODULES, *_modules_beside(PROMPT_CACHE))
    # The SDK builds its pydantic models on first use, and may find freezegun's classes in their annotations then.
    _known_to_pydantic(api.FakeDatetime, api.real_datetime)
    _known_to_pydantic(api.FakeDate, api.real_date)
    frames, api.call_stack_inspection_limit = api.call_stack_inspection_limit, 1
    freezer = freeze_time(datetime.now(UTC), ignore=list(real_time), real_asyncio=True)
    # freezegun adds its own default list, in which `threading` would make it look at the callers of the app.
    freezer.ignore = real_time
    try:
        with freezer as frozen:
            yield Clock(frozen)  # type: ignore[arg-type]
    finally:
        api.call_stack_inspection_limit = frames


def _known_to_pydantic(fake: type, real: type) -> None:
    def schema(cls: type, source: object, handler: Any) -> Any:  # noqa: ARG001 - pydantic's protocol
        return handler.generate_schema(real)

    fake.__get_pydantic_core_schema__ = classmethod(schema)  # type: ignore[attr-defined]
