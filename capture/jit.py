"""The one way kernels are compiled: `@kernel` on a plain function over NumPy arrays.

Kernels release the GIL and are cached on disk. With NUMBA_DISABLE_JIT=1 the same source runs
interpreted, where NumPy checks every index: that is how they are fuzzed.

The compiler is loaded when the first kernel runs, not before: it takes half a second, which a command that only asks
the service never needs, and which the others spend while their store opens.

Numba's cache knows the file of a kernel, but not the constants and the other kernels that went into its code, so here
they are part of what must not have changed.

Numba's cache numbers its files and has no lock: of two processes that save at once, one may get the other's code under
its own name, with other constants in it. So each directory of the cache is locked while something is saved or loaded.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import update_wrapper
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])
log = logging.getLogger(__name__)
MOST_SECONDS = 600
"""For a process that compiles."""
_loading = threading.RLock()
_others: list[list[str]] = []
"""A command that compiles what this process will need, until it was asked."""
_stamps: dict[int, str] = {}
"""By the identity of a compiled kernel, which stays for good: what its code was made of."""


class _Plain(threading.local):
    """How many kernels of this thread are run as plain Python."""

    depth = 0


_plain = _Plain()


class _Kernel:
    """Stands for a kernel until it is called."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._compiled: Callable[..., object] | None = None
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> object:
        if self._compiled is None and _plain.depth:
            return self._function(*args)
        return (self._compiled or self.load())(*args)

    def plainly(self, *args: Any) -> object:
        """The same as plain Python, and of kernels that it calls, unless the compiler is loaded already."""
        if self._compiled is not None or "numba" in sys.modules:
            return (self._compiled or self.load())(*args)
        import numpy as np

        _plain.depth += 1
        try:
            with np.errstate(over="ignore"):
                return self._function(*args)
        finally:
            _plain.depth -= 1

    def load(self) -> Callable[..., object]:
        """The compiled function. Kernels that it names are loaded, too, and take their own place: the compiler knows
        nothing of those that wait."""
        with _loading:
            if self._compiled is None:
                import numba

                names, parts = self._function.__globals__, hashlib.sha256()
                for name in sorted(set(self._function.__code__.co_names) & names.keys()):
                    value = names[name]
                    if isinstance(value, _Kernel):
                        value = names[name] = value.load()
                    parts.update(f"{name} {_stamps.get(id(value)) or _constant(value)}\n".encode())
                compiled = numba.njit(nogil=True, cache=True)(self._function)
                _use_cache(compiled, parts)
                self._compiled = compiled
            return self._compiled


def _constant(value: object) -> str:
    """What of a global name becomes code; of modules, functions and types only that there is one."""
    if hasattr(value, "tobytes"):  # an array, or one number of NumPy's
        return f"{getattr(value, 'dtype', '')} {hashlib.sha256(value.tobytes()).hexdigest()}"
    return repr(value) if isinstance(value, int | float | str | bytes | tuple) else ""


def _use_cache(compiled: object, parts: Any) -> None:
    # Interpreted, there is none.
    cache: Any = getattr(compiled, "_cache", None)
    file = getattr(cache, "_cache_file", None)
    if file is None:
        return
    parts.update(repr(file._source_stamp).encode())
    file._source_stamp = _stamps[id(compiled)] = parts.hexdigest()
    save, load, folder = file.save, file.load, file._cache_path
    load_fully, lightly = cache.load_overload, getattr(cache, "_load_overload", None)

    def save_alone(key: object, data: object) -> None:
        with _locked(folder, fcntl.LOCK_EX):
            save(key, data)

    def load_whole(key: object) -> object:
        with _locked(folder, fcntl.LOCK_SH):
            return load(key)

    def load_lightly(sig: object, context: object) -> object:
        # What is compiled needs the runtime alone. Numba fills all tables of its compiler first, which takes a quarter
        # of a second; whoever compiles something after all fills them then.
        if lightly is None:
            return load_fully(sig, context)
        from numba.core.runtime.nrt import rtsys

        rtsys.initialize(context)
        with cache._guard_against_spurious_io_errors():
            found = lightly(sig, context)
            if found is None and _others:
                _ask(_others.pop())
                found = lightly(sig, context)
            return found

    file.save, file.load, cache.load_overload = save_alone, load_whole, load_lightly


def compile_in(command: list[str]) -> None:
    """The first time that the cache lacks something, `command` is run to its end, which should fill it: a compiler that
    has run keeps its memory as long as its process lives."""
    _others[:] = [command]


def _ask(command: list[str]) -> None:
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=MOST_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        log.info("kernels are compiled here, since no other process does so: %s", error)


@contextmanager
def _locked(folder: str, how: int) -> Iterator[None]:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # nothing was saved yet, or nothing can be
        yield
        return
    try:
        # Some network file systems have no locks; there it is as numba leaves it.
        with suppress(OSError):
            fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def plainly(function: F) -> F:
    """A kernel for very little work: where nothing is compiled yet, it runs as plain Python, because the compiler takes
    longer to load than a few hundred steps do."""
    return cast(F, cast(_Kernel, function).plainly) if isinstance(function, _Kernel) else function


def kernel(function: F) -> F:
    """Compile `function` on its first call (nogil, cached)."""
    return cast(F, _Kernel(function))
