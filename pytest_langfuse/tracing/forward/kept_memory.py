"""Memory that is freed is kept for the next messages, rather than given back to the kernel and asked for again.

glibc gives large blocks back at once, and the kernel fills each page that it hands out with zeros: at thousands of
messages a second that is a third of the forwarder's CPU. For a process that does nothing else.
"""

from __future__ import annotations

import ctypes

#: Parameters of `mallopt` (glibc, malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: glibc takes no larger threshold for blocks of their own.
_LARGEST_BLOCK = 32 * 1024 * 1024


def keep_freed_memory(most_bytes: int) -> bool:
    """Keep up to so many bytes at the end of the heap. Return `False` where the C library is not glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    wanted = {
        # One heap for all threads: what one frees, another can use.
        _ARENA_MAX: 1,
        _MMAP_THRESHOLD: _LARGEST_BLOCK,
        _TRIM_THRESHOLD: min(most_bytes, 2**31 - 1),
    }
    return all(mallopt(parameter, value) for parameter, value in wanted.items())
