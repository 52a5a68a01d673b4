"""Shared by all tests."""

import langfuse  # noqa: F401 - pytester's in-process runs forget modules that they were the first to import: 300 ms each

pytest_plugins = ["pytester"]
