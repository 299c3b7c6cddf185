"""The one way kernels are compiled: `@kernel` on a plain function over NumPy arrays.

Kernels release the GIL and are cached on disk. With NUMBA_DISABLE_JIT=1 the same source runs
interpreted, where NumPy checks every index: that is how they are fuzzed.

The compiler is loaded when the first kernel runs, not before: it takes half a second, which a command that only asks
the service never needs, and which the others spend while their store opens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])
_loading = threading.RLock()


class _Kernel:
    """Stands for a kernel until it is called."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self._compiled: Callable[..., object] | None = None
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> object:
        return (self._compiled or self.load())(*args)

    def load(self) -> Callable[..., object]:
        """The compiled function. Kernels that it names are loaded, too, and take their own place: the compiler knows
        nothing of those that wait."""
        with _loading:
            if self._compiled is None:
                import numba

                names = self._function.__globals__
                for name in self._function.__code__.co_names:
                    if isinstance(names.get(name), _Kernel):
                        names[name] = names[name].load()
                self._compiled = numba.njit(nogil=True, cache=True)(self._function)
            return self._compiled


def kernel(function: F) -> F:
    """Compile `function` on its first call (nogil, cached)."""
    return cast(F, _Kernel(function))
