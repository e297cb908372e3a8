"""Numba decorators with the compiler flags of all kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

njit: Callable[..., Callable[[object], object]] = numba.njit  # `_nrt` and others are not in its type
F = TypeVar("F", bound=Callable[..., object])

# The compiler may reorder sums into vector lanes. NaN and inf keep their meaning, because -inf is a sentinel
# in the searches.
REASSOCIATE = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: F) -> F:
    """Compile a function that Python calls: without the GIL, without exceptions, cached on disk."""
    return _compiled(function, {})


def njit_noref(function: F) -> F:
    """Compile a function that only kernels call, without reference counting; it must not allocate arrays.

    Reference counting costs an atomic write for each array at each call, which is slow in short functions
    and makes threads contend.
    """
    return _compiled(function, {"_nrt": False, "no_cpython_wrapper": True})


def inline(function: F) -> F:
    """Compile as `njit_noref`, and make LLVM inline the function into its callers. For short functions."""
    return _compiled(function, {"_nrt": False, "no_cpython_wrapper": True, "forceinline": True})


def njit_inlined(function: F) -> F:
    """Inline a function into its caller before compilation. For functions with one call site.

    Other functions are compiled on their own and again within their caller. An inlined function counts
    references to its arrays, so do not call it in an inner loop.
    """
    return _compiled(function, {"inline": "always"})


def as_written(function: F) -> F:
    """Compile as `inline`, but do not reorder floating-point sums."""
    return _compiled(
        function, {"_nrt": False, "no_cpython_wrapper": True, "forceinline": True, "fastmath": False}
    )


def _compiled(function: F, options: dict[str, object]) -> F:
    """Compile without the C wrapper, which nothing calls and which takes compile time."""
    flags: dict[str, object] = {"nogil": True, "cache": True, "fastmath": REASSOCIATE, "error_model": "numpy"}
    options = flags | options
    options["no_cfunc_wrapper"] = True
    return cast(F, njit(**options)(function))
