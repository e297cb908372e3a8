"""Parse the values of options: lists of ids, histories, depths, durations."""

from __future__ import annotations

import csv
import re

from segue.errors import SettingError

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_ids(text: str) -> list[str]:
    """Return the ids of a comma-separated list; ids that contain commas are in double quotes."""
    parts = next(csv.reader([text], skipinitialspace=True), [])
    return [part.strip() for part in parts if part.strip()]


def parse_depths(text: str) -> list[int]:
    """Return the depths of a list such as 5,10,20."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingError(f"-k {text} must be whole numbers separated by commas, such as 5,10,20") from error


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 10m, 1h30m or 600."""
    match = DURATION.fullmatch(text.replace(" ", ""))
    if match is None or not any(part is not None and float(part) > 0 for part in match.groups()):
        raise SettingError(f"--time-budget {text} must be a duration, such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds
