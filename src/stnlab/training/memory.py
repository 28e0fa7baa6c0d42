"""Memory that each training step frees and asks for again."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)."""
MOST = 32 * 2**20
"""Bytes: the largest threshold that glibc takes."""


def keep_freed_memory() -> None:
    """Blocks of up to 32 MB that are freed stay with this process, 2 GB of them at most (glibc alone; elsewhere nothing
    is done).

    By default glibc returns them to the system, which clears each page when it is asked for again: of a training step
    on a CPU that takes a tenth.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(MMAP_THRESHOLD, MOST)
