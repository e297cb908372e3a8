"""The compiler flags of every kernel, in one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])

# Sums may be reordered into vector lanes; NaN, inf and signed zeros keep their meaning, because
# -inf is a sentinel in the searches.
REASSOCIATE = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: F) -> F:
    """Compile to machine code on first use: no GIL, no exceptions, cached on disk."""
    return cast(F, numba.njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy")(function))


def bare(function: F) -> F:
    """Compile like `kernel`, but without counting references: such code makes no arrays and no views.

    Counting takes an atomic write for every array at every call, which costs more than short steps do and
    for which threads wait for each other.
    """
    options: dict[str, Any] = {"_nrt": False}
    compiled = numba.njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy", **options)
    return cast(F, compiled(function))


def inline(function: F) -> F:
    """Compile a small step that is pasted into the kernels which call it."""
    return cast(
        F,
        numba.njit(nogil=True, cache=True, fastmath=REASSOCIATE, error_model="numpy", inline="always")(
            function
        ),
    )
