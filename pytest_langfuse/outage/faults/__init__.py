"""The ways in which Langfuse fails, each a function with a docstring that says which real incident looks so."""

from __future__ import annotations

# Imported for what they register.
from pytest_langfuse.outage.faults import connection as connection
from pytest_langfuse.outage.faults import disguise as disguise
from pytest_langfuse.outage.faults import pace as pace
from pytest_langfuse.outage.faults import status as status
from pytest_langfuse.outage.faults.fault import FAULTS, ClientFault, Fault, ServerFault, Strike, find_fault

__all__ = ["FAULTS", "ClientFault", "Fault", "ServerFault", "Strike", "find_fault"]

#: From the plainest to the strangest; the order in which faults are listed and run.
_ORDER = """
    refused hang reset slow drip
    http_400 http_401 http_403 http_404 http_413 http_429 http_500 http_502 http_503 http_504
    redirect captive_portal partial_success garbage truncated tls_error dns_error flapping
"""
for _name in _ORDER.split():
    FAULTS[_name] = FAULTS.pop(_name)
