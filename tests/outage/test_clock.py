"""`langfuse_clock`: the app's clock moves, and no library's timer hangs or spins for it."""

import asyncio
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from pkgutil import walk_packages

import httpx
import pytest
import urllib3
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import pytest_langfuse
from pytest_langfuse import Observations
from pytest_langfuse.outage.clock import REAL_TIME_MODULES, _modules_beside, frozen_clock
from pytest_langfuse.recording.sdk import PROMPT_CACHE
from pytest_langfuse.recording.sources.static import StaticSource


@pytest.fixture
def silent_port():
    """A port that accepts and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_apps_clocks_move_together_and_only_when_told() -> None:
    with frozen_clock() as clock:
        before = (time.time(), time.monotonic(), time.perf_counter(), datetime.now(UTC))
        assert (time.time(), time.monotonic(), time.perf_counter(), datetime.now(UTC)) == before
        clock.advance(seconds=300)
        after = (time.time(), time.monotonic(), time.perf_counter(), datetime.now(UTC))
        assert [round(b - a) for a, b in zip(before[:3], after[:3], strict=True)] == [300, 300, 300]
        assert after[3] - before[3] == timedelta(seconds=300)
        assert clock.now == after[3]


def _app_clock() -> float:
    return time.monotonic()


def test_the_app_is_frozen_in_a_thread_too() -> None:
    with frozen_clock() as clock, ThreadPoolExecutor(1) as pool:
        before = pool.submit(_app_clock).result()
        clock.advance(seconds=60)
        assert pool.submit(_app_clock).result() - before == pytest.approx(60)


def test_a_cached_prompt_expires_when_the_clock_moves() -> None:
    from langfuse._utils.prompt_cache import PromptCacheItem
    from langfuse.model import TextPromptClient

    with frozen_clock() as clock:
        cached = PromptCacheItem(TextPromptClient.__new__(TextPromptClient), ttl_seconds=60)
        clock.advance(seconds=59)
        assert not cached.is_expired()
        clock.advance(seconds=2)
        assert cached.is_expired()


def test_all_else_of_the_sdk_keeps_the_real_clock() -> None:
    import langfuse

    real_time = tuple(_modules_beside(PROMPT_CACHE))
    modules = [module.name for module in walk_packages(langfuse.__path__, "langfuse.")]
    assert [name for name in modules if not name.startswith(real_time)] == ["langfuse._utils", PROMPT_CACHE]


def test_time_does_not_go_back() -> None:
    with frozen_clock() as clock, pytest.raises(ValueError, match="seconds=-1"):
        clock.advance(seconds=-1)


def test_the_real_clock_is_back_afterwards() -> None:
    from freezegun import api

    limit = api.call_stack_inspection_limit
    real = time.monotonic
    with frozen_clock():
        assert time.monotonic is not real
    assert time.monotonic is real
    assert api.call_stack_inspection_limit == limit


def test_threading_timers_run_out() -> None:
    with frozen_clock():
        assert not threading.Event().wait(0.01)
        with pytest.raises(queue.Empty):
            queue.Queue().get(timeout=0.01)
        with ThreadPoolExecutor(1) as pool:
            blocked = threading.Event()
            with pytest.raises(FutureTimeoutError):
                pool.submit(blocked.wait).result(timeout=0.01)
            blocked.set()


@pytest.mark.slow
def test_asyncio_timers_run_out() -> None:
    async def main() -> None:
        await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()

    with frozen_clock():
        asyncio.run(main())


def test_httpx_times_out(silent_port: int) -> None:
    with frozen_clock(), httpx.Client(timeout=0.05) as client, pytest.raises(httpx.ReadTimeout):
        client.get(f"http://127.0.0.1:{silent_port}")


def test_urllib3_times_out(silent_port: int) -> None:
    with frozen_clock(), urllib3.PoolManager() as pool, pytest.raises(urllib3.exceptions.MaxRetryError):
        pool.request("GET", f"http://127.0.0.1:{silent_port}", timeout=0.05, retries=1)


@pytest.mark.slow
def test_opentelemetrys_batch_processor_goes_on() -> None:
    class Waking(SpanExporter):
        exported = threading.Event()

        def export(self, spans: object) -> SpanExportResult:
            self.exported.set()
            return SpanExportResult.SUCCESS

    exporter = Waking()
    with frozen_clock() as clock:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=10))
        tracer = provider.get_tracer("app")
        span = tracer.start_span("timed by the real clock")
        clock.advance(seconds=3600)
        span.end()
        assert exporter.exported.wait(10)
        provider.shutdown()
    assert span.end_time - span.start_time < 60_000_000_000


@pytest.mark.slow
def test_pydantic_models_can_be_built_meanwhile() -> None:
    from pydantic import TypeAdapter

    with frozen_clock():
        import datetime as dt

        assert TypeAdapter(dt.datetime).validate_python("2026-01-01T00:00:00Z").year == 2026
        assert TypeAdapter(dt.date).validate_python("2026-01-01").year == 2026


# -- the package itself ----------------------------------------------------------------------------------------------


def test_the_whole_package_keeps_the_real_clock_but_what_runs_in_production() -> None:
    """A folder that is added or renamed keeps it, too: its waits would never end under a frozen clock."""
    package = Path(pytest_langfuse.__file__).parent
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    own = {name for name in REAL_TIME_MODULES if name.startswith("pytest_langfuse")}
    assert own == {f"pytest_langfuse.{name}" for name in modules - {"__init__", "tracing"}}
    assert find_spec("pytest_langfuse.tracing") is not None


def test_the_waits_of_the_package_end_under_a_frozen_clock() -> None:
    from pytest_langfuse.outage.server import LangfuseServer

    with frozen_clock(), LangfuseServer() as server:
        assert not server.wait_for_arrivals(1, timeout=0.01)
        with pytest.raises(AssertionError, match=r"0\.01 s"):
            Observations(StaticSource()).wait_for(count=1, timeout=0.01)
