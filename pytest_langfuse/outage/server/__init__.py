"""The stand-in Langfuse on a real socket, for tests and by hand: `python -m pytest_langfuse.outage.server --help`."""

from pytest_langfuse.outage.server.langfuse_server import LangfuseServer as LangfuseServer
from pytest_langfuse.standin.http.arrivals import Arrival as Arrival
from pytest_langfuse.standin.stand_in import StandIn as StandIn

__all__ = ["Arrival", "LangfuseServer", "StandIn"]
