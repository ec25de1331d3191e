"""Memory that a step frees stays with the process for the next step."""

import ctypes
import functools

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST = 2**31 - 1  # the parameters are ints


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep what is freed instead of giving it back to the system; whether it will.

    By default every larger tensor is a mapping of its own, which goes back when it is freed: the next step gets its memory
    as fresh pages, and pays a fault for each, on virtual machines more than for what is computed in them. What a process
    holds at most does not change, only that it holds it until its end.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(M_MMAP_THRESHOLD, LARGEST) and libc.mallopt(M_TRIM_THRESHOLD, LARGEST))
    except (OSError, AttributeError):
        return False  # another C library, which has ways of its own
