"""The one way kernels are compiled: `@kernel` on a plain function over NumPy arrays.

Kernels release the GIL and are cached on disk. With NUMBA_DISABLE_JIT=1 the same source runs
interpreted, where NumPy checks every index: that is how they are fuzzed. The compiler is loaded when a kernel is first
called: most commands call none, and it takes half of their time.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])
_lock = threading.RLock()


class _Kernel:
    """Stands for a function until it is called. Kernels that call it see the compiled one."""

    known = False
    """The compiler knows what stands for a kernel."""

    def __init__(self, function: Callable[..., object]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._compiled: Callable[..., object] | None = None

    def compiled(self) -> Callable[..., object]:
        """What numba makes of it; machine code comes with the first call."""
        with _lock:
            if self._compiled is None:
                import numba

                if not _Kernel.known:
                    _tell_compiler()
                self._compiled = numba.njit(nogil=True, cache=True)(self._function)
            return self._compiled

    def __call__(self, *arguments: object) -> object:
        return (self._compiled or self.compiled())(*arguments)


def _tell_compiler() -> None:
    from numba.extending import typeof_impl

    def kind(stand_in: _Kernel, context: Any) -> Any:
        return typeof_impl(stand_in.compiled(), context)

    typeof_impl.register(_Kernel, kind)
    _Kernel.known = True


def kernel(function: F) -> F:
    """Compile `function` on its first call (nogil, cached)."""
    return cast(F, _Kernel(function))
