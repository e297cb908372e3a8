"""Answers of commands: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import Any

import polars as pl

from segue.cli.tables import reasons_table, rows_table
from segue.cli.terminal import UNBROKEN, errors, output


def print_rows(frame: pl.DataFrame) -> None:
    """Print a frame as a table; reasons go below the titles on a screen, into a column elsewhere."""
    if frame.is_empty():
        errors().print("The list is empty: no item is allowed, or all users are unknown.")
        return
    console = output()
    if "reasons" not in frame.columns:
        console.print(rows_table(frame))
        return
    because = pl.Series("because", list(map(because_of, frame["reasons"].to_list())), pl.String)
    frame = frame.drop("reasons").with_columns(because)
    console.print(reasons_table(frame) if console.width < UNBROKEN else rows_table(frame))


def because_of(reasons: list[dict[str, Any]]) -> str:
    """Return the reasons of an item as one text: the picks or features with a positive share."""
    if not reasons:
        return "it is popular"
    parts = [part for part in reasons if part["reason"] in ("pick", "feature") and part["share"] > 0]
    text = ", ".join(f"{part['title'] or part['value']} {part['share']:+.2f}" for part in parts)
    return f"you liked {text}" if any(part["reason"] == "pick" for part in parts) else text


def print_json(value: object) -> None:
    """Print one line of JSON, in ASCII if the stream is not Unicode."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(value, ensure_ascii=not unicode, default=str) + "\n")
    sys.stdout.flush()  # a closed pipe raises here
