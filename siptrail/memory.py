"""Memory that a service took for a moment, given back to the machine. On systems without it, nothing happens.

It owns no memory itself. Linux and glibc only; elsewhere the process keeps what it has for later, as usual.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

ARENA_MAX, MMAP_THRESHOLD = -8, -3
"""mallopt's numbers for how many heaps threads share, and from which size on memory is no heap's (malloc.h)."""
ARENAS, LARGE, LARGE_IN_HASTE = 2, 64 << 10, 32 << 20
DONTNEED = 4
"""madvise's number for pages that can be read from their file again (asm-generic/mman-common.h)."""
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+)\s*(/.*)?")


@lru_cache(maxsize=1)
def _libc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.malloc_trim.argtypes = [ctypes.c_size_t]
        libc.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
        libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        return libc
    return None  # another C library, such as musl


def share_heaps() -> None:
    """Few heaps for all threads, since each keeps some of what it once had; and nothing large in them, where it would
    leave holes."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(ARENA_MAX, ARENAS)
        libc.mallopt(MMAP_THRESHOLD, LARGE)


class Haste:
    """Whether this process has much to do: then heaps keep large pieces, too, since to have the kernel empty and hand
    over pages again for each of them takes a tenth of the time and more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = 0

    def begin(self) -> None:
        """Somebody has much to do."""
        self._change(1)

    def end(self) -> None:
        """The same one has no more."""
        self._change(-1)

    @contextlib.contextmanager
    def during(self) -> Iterator[None]:
        """Both."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def _change(self, more: int) -> None:
        with self._lock:
            self._busy += more
            libc = _libc()
            if libc is not None:
                libc.mallopt(MMAP_THRESHOLD, LARGE_IN_HASTE if self._busy else LARGE)


def give_back() -> None:
    """What was freed goes back to the machine."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def forget_pages() -> int:
    """Pages of libraries that were needed once (to start, above all: the compiler) leave memory; what is needed again
    comes back from its file. Only pages that nobody wrote to. Returns their bytes."""
    libc = _libc()
    if libc is None:
        return 0
    try:
        text = Path("/proc/self/smaps").read_text()
    except OSError:
        return 0
    freed, place, resident = 0, None, 0
    for line in text.splitlines():
        found = _MAPPING.match(line)
        if found is not None:
            place = found if found[5] and "w" not in found[3] else None
        elif place is not None and line.startswith("Rss:"):
            resident = int(line.split()[1]) * 1024
        elif place is not None and line.startswith("Anonymous:"):
            start, end = int(place[1], 16), int(place[2], 16)
            # A page that was written to is nobody's but ours: it would be lost.
            if line.split()[1] == "0" and libc.madvise(start, end - start, DONTNEED) == 0:
                freed += resident
    return freed


def shrink() -> None:
    """`give_back` and `forget_pages`, after something that took memory and will not come again at once."""
    give_back()
    forget_pages()
