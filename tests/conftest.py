"""Shared by all tests."""

import asyncio

import langfuse  # noqa: F401 - pytester's in-process runs forget modules that they were the first to import: 300 ms each

pytest_plugins = ["pytester"]

# A main thread that was never told which event loop is its own makes one when it is asked, as pytest-asyncio does
# before version 1.4, and nobody closes it.
asyncio.set_event_loop(None)
