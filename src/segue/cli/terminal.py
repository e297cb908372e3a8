"""The two streams of the command line: answers on stdout, everything else on stderr."""

from __future__ import annotations

import os
import sys

from rich.console import Console

UNBROKEN = 10_000  # columns of a file or a pipe, so that every row stays on one line


def output() -> Console:
    """Return the console for answers."""
    fits_screen = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if fits_screen else UNBROKEN, highlight=False, markup=False, emoji=False)


def errors() -> Console:
    """Return the console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
