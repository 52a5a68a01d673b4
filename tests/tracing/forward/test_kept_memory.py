"""The allocator of the process keeps what is freed."""

import platform
import subprocess
import sys

import pytest

from tests.helpers.limited_runs import LIMIT

SCRIPT = """
import resource
from pytest_langfuse.tracing.forward.kept_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        bytes(4 * 1024 * 1024)
        messages = [bytes(50_000) for _ in range(400)]
        del messages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(keep_freed_memory(256 * 1024 * 1024))
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no such settings")
def test_no_page_is_asked_for_again():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=LIMIT)
    kept, faults = done.stdout.split()
    assert kept == "True"
    # Twenty times 24 MB are 120,000 pages.
    assert int(faults) < 5000
