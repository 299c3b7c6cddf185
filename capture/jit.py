"""The one way kernels are compiled: `@kernel` on a plain function over NumPy arrays.

Kernels release the GIL. With NUMBA_DISABLE_JIT=1 the same source runs interpreted, where NumPy checks every index: that
is how they are fuzzed.

What was compiled is kept on disk, and called without the compiler (capture.machine). The compiler is loaded when there
is nothing for a kernel that is called, and where one needs it each time: then numba's own cache is used.

Code depends on the constants and the other kernels that a kernel names, so they are part of what must not have changed.

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
from enum import EnumType
from functools import update_wrapper
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from numpy import dtype, errstate, ndarray

if TYPE_CHECKING:
    from capture.machine import Kind

F = TypeVar("F", bound=Callable[..., object])
log = logging.getLogger(__name__)
LEAST, MOST = -(1 << 63), (1 << 63) - 1
"""What an `int` of a kernel can be."""
MOST_SECONDS = 600
"""For a process that compiles."""
_loading = threading.RLock()
_others: list[list[str]] = []
"""A command that compiles what this process will need, until it was asked."""
_told: list[Callable[[], None]] = []
"""Who wants to know that something is compiled, until it was told."""


class _Plain(threading.local):
    """How many kernels of this thread are run as plain Python."""

    depth = 0


_plain = _Plain()


class _Kernel:
    """Stands for a kernel until it is called."""

    def __init__(self, function: FunctionType) -> None:
        self._function = function
        self._compiled: Callable[..., object] | None = None
        """As numba calls it where no machine code can be stored."""
        self._named: Callable[..., object] | None = None
        """For kernels that name this one."""
        self._known: dict[tuple[object, ...], Callable[..., object]] = {}
        """By what the arguments are, as fast as that can be told."""
        self._takes: dict[tuple[Kind, ...] | None, Callable[..., object]] = {}
        self._stamp = ""
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> object:
        if _plain.depth and not self._known:
            return self._function(*args)
        # An array's flags say more than matters, but come as one number.
        key = tuple(
            [
                (arg.dtype.str, arg.ndim, arg.flags.num)
                if type(arg) is ndarray
                else type(arg)
                if type(arg) is not int or LEAST <= arg <= MOST
                else "wide"
                for arg in args
            ]
        )
        return (self._known.get(key) or self._find(key, args))(*args)

    def plainly(self, *args: Any) -> object:
        """The same as plain Python, and of kernels that it calls, unless compiled code was loaded already."""
        if self._known or self._compiled is not None or "llvmlite.binding" in sys.modules:
            return self(*args)
        _plain.depth += 1
        try:
            with errstate(over="ignore"):
                return self._function(*args)
        finally:
            _plain.depth -= 1

    def _find(self, key: tuple[object, ...], args: tuple[Any, ...]) -> Callable[..., object]:
        """Who takes such arguments."""
        from capture.machine import kinds_of, usable

        complete = len(args) == self._function.__code__.co_argcount
        with _loading:
            kinds = kinds_of(args) if complete and usable() and "wide" not in key else None
            if kinds not in self._takes:
                code = None if kinds is None else self._machine_code(kinds, args)
                self._takes[kinds] = code or self.load()
            self._known[key] = found = self._takes[kinds]
            return found

    def _machine_code(self, kinds: tuple[Kind, ...], args: tuple[Any, ...]) -> Callable[..., object] | None:
        """From disk, or compiled and put there; None where it cannot be."""
        from capture.machine import Stored, callable_of

        source, name = Path(self._function.__code__.co_filename), self._function.__qualname__
        stored = Stored(source, f"{source.stem}.{name}", self.stamp(), kinds)
        code = stored.read()
        if code is None and _told:
            _told.pop()()
        if code is None and _others:
            _ask(_others.pop())
            code = stored.read()
        if code is None:
            code = self._compile(stored.symbol, kinds, args)
            if code is not None:
                stored.write(code)
        return callable_of(code, stored.symbol, kinds) if code else None

    def _compile(self, symbol: str, kinds: tuple[Kind, ...], args: tuple[Any, ...]) -> bytes | None:
        """What to store; None if somebody wants something special of the compiler, which a file may tell it."""
        import numba

        from capture.machine import CannotBeStored, code_of

        config: Any = numba.config
        if config.DISABLE_JIT or config.BOUNDSCHECK:
            return None
        signature = tuple(map(cast(Any, numba.typeof), args))
        # Of what comes from its cache numba does not show the code.
        compiled = numba.njit(nogil=True)(self._for_numba())
        compiled.compile(signature)
        try:
            return code_of(compiled, signature, symbol, kinds)
        except CannotBeStored as error:
            log.info("%s.%s is compiled by numba each time: %s", self.__module__, self._function.__qualname__, error)
            return b""

    def load(self) -> Callable[..., object]:
        """The function as numba calls it."""
        with _loading:
            if self._compiled is None:
                import numba

                function = self._for_numba()
                try:
                    compiled = numba.njit(nogil=True, cache=True)(function)
                except RuntimeError:  # there is no place for a cache
                    compiled = numba.njit(nogil=True)(function)
                _use_cache(compiled, self.stamp())
                self._compiled = compiled
            return self._compiled

    def named(self) -> Callable[..., object]:
        """The function for kernels that name it: it becomes part of their code, so nobody stores it."""
        with _loading:
            if self._named is None:
                import numba

                from capture.machine import usable

                # Where nothing is stored, each process compiles what its kernels name, and the cache saves that.
                self._named = numba.njit(nogil=True)(self._for_numba()) if usable() else self.load()
            return self._named

    def _for_numba(self) -> Callable[..., object]:
        """The function, with those that it names in place of their kernels, of which the compiler knows nothing. Only
        the compiler gets it: whoever else calls one of those by its name shall get what is stored."""
        own = self._function
        names = {name: value for name in self._names() if isinstance(value := own.__globals__[name], _Kernel)}
        globals_ = {**own.__globals__, **{name: value.named() for name, value in names.items()}}
        out = FunctionType(own.__code__, globals_, own.__name__, own.__defaults__, own.__closure__)
        out.__qualname__, out.__module__ = own.__qualname__, own.__module__
        return out

    def _names(self) -> list[str]:
        names = self._function.__globals__
        return sorted(name for name in _names_in(self._function.__code__) & names.keys() if names[name] is not self)

    def stamp(self) -> str:
        """What the code is made of."""
        if not self._stamp:
            own = f"{self._function.__module__}.{self._function.__qualname__} {_written(self._function.__code__)}"
            parts = hashlib.sha256(own.encode())
            for cell in self._function.__closure__ or ():
                parts.update(f"{_constant(cell.cell_contents)}\n".encode())
            for name in self._names():
                value = self._function.__globals__[name]
                said = value.stamp() if isinstance(value, _Kernel) else _constant(value)
                parts.update(f"{name} {said}\n".encode())
            self._stamp = parts.hexdigest()
        return self._stamp


def _written(code: CodeType) -> str:
    """The code of a function, whoever asks: sets are in order, and code inside has no address."""
    constants = [
        _written(one) if isinstance(one, CodeType) else sorted(map(repr, one)) if isinstance(one, frozenset) else one
        for one in code.co_consts
    ]
    return repr((code.co_code, constants, code.co_names, code.co_varnames))


def _names_in(code: CodeType) -> set[str]:
    inside = [_names_in(one) for one in code.co_consts if isinstance(one, CodeType)]
    return set(code.co_names).union(*inside)


def _constant(value: object) -> str:
    """What of a global name becomes code; of functions and NumPy's modules and types only that there is one."""
    if hasattr(value, "tobytes"):  # an array, or one number of NumPy's
        about = f"{getattr(value, 'dtype', '')} {getattr(value, 'shape', '')}"
        return f"{about} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, ModuleType) and value.__name__.partition(".")[0] not in ("numpy", "math"):
        raise TypeError(f"a kernel must name what it needs of {value.__name__}, not the module: that may change")
    if isinstance(value, EnumType):
        return repr(list(value))
    return repr(value) if isinstance(value, int | float | str | bytes | tuple | dtype) else ""


def _use_cache(compiled: object, stamp: str) -> None:
    # Interpreted, there is none.
    cache: Any = getattr(compiled, "_cache", None)
    file = getattr(cache, "_cache_file", None)
    if file is None:
        return
    file._source_stamp = stamp
    save, load, folder = file.save, file.load, file._cache_path

    def save_alone(key: object, data: object) -> None:
        # On a full disk nothing is saved.
        with suppress(OSError), _locked(folder, fcntl.LOCK_EX):
            save(key, data)

    def load_whole(key: object) -> object:
        with _locked(folder, fcntl.LOCK_SH):
            return load(key)

    file.save, file.load = save_alone, load_whole


def compile_in(command: list[str]) -> None:
    """The first time that something is not stored, `command` is run to its end, which should store it: a compiler that
    has run keeps its memory as long as its process lives."""
    _others[:] = [command]


def tell_compiling(say: Callable[[], None] | None) -> None:
    """`say` is called before something is compiled, once: that may take a minute. None: nobody wants to know."""
    _told[:] = [say] if say else []


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
    return cast(F, _Kernel(cast(FunctionType, function)))
