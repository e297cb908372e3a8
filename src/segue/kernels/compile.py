"""The compiler flags of every kernel, in one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

njit: Callable[..., Callable[[object], object]] = numba.njit  # `_nrt` and others are not in its type
F = TypeVar("F", bound=Callable[..., object])

# Sums may be reordered into vector lanes; NaN, inf and signed zeros keep their meaning, because
# -inf is a sentinel in the searches.
REASSOCIATE = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: F) -> F:
    """Compile to machine code on first use: no GIL, no exceptions, cached on disk."""
    return _compiled(function, {})


def njit_noref(function: F) -> F:
    """Compile a part of kernels, which Python cannot call, without counting references: it makes no arrays.

    Counting takes an atomic write for every array at every call, which costs more than short steps do and
    for which threads wait for each other.
    """
    return _compiled(function, {"_nrt": False, "no_cpython_wrapper": True})


def inline(function: F) -> F:
    """Compile a small step, `bare`, whose machine code is pasted into the kernels that call it."""
    return _compiled(function, {"_nrt": False, "no_cpython_wrapper": True, "forceinline": True})


def njit_inlined(function: F) -> F:
    """Paste a part, where it is called, into the kernel before that is compiled, so that it is compiled once.

    A part of any other kind is compiled by itself and again within its kernel. What is pasted into a loop
    counts references to its arrays in each turn.
    """
    return _compiled(function, {"inline": "always"})


def as_written(function: F) -> F:
    """Compile a small step as `inline` does, but with its sums in the order in which they are written."""
    return _compiled(
        function, {"_nrt": False, "no_cpython_wrapper": True, "forceinline": True, "fastmath": False}
    )


def _compiled(function: F, options: dict[str, object]) -> F:
    """Leave out the wrappers that are not needed: they take much of the time of compiling."""
    flags: dict[str, object] = {"nogil": True, "cache": True, "fastmath": REASSOCIATE, "error_model": "numpy"}
    options = flags | options
    options["no_cfunc_wrapper"] = True
    return cast(F, njit(**options)(function))
