"""The SIMD form that the kernels use on this processor."""

from __future__ import annotations

import os

from segue.errors import SettingError
from segue.kernels import simd


def chosen_form() -> simd.Form:
    """Return the fastest form that the processor supports, or the one that `SEGUE_SIMD` names."""
    usable = simd.usable()
    name = os.environ.get("SEGUE_SIMD") or usable[0]
    if name not in usable:
        raise SettingError(f"SEGUE_SIMD={name!r} must be one of {', '.join(usable)} on this processor")
    return simd.FORMS[name]
