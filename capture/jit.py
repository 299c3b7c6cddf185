"""The one way kernels are compiled: `@kernel` on a plain function over NumPy arrays.

Kernels release the GIL and are cached on disk. With NUMBA_DISABLE_JIT=1 the same source runs
interpreted, where NumPy checks every index: that is how they are fuzzed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def kernel(function: F) -> F:
    """Compile `function` on its first call (nogil, cached)."""
    return cast(F, numba.njit(nogil=True, cache=True)(function))
