"""The stand-in Langfuse on a real socket, for tests and by hand: `python -m pytest_langfuse.outage.server --help`."""

from pytest_langfuse.outage.server.langfuse_server import Arrival as Arrival
from pytest_langfuse.outage.server.langfuse_server import LangfuseServer as LangfuseServer

__all__ = ["Arrival", "LangfuseServer"]
