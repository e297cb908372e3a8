"""Convert columns of weights and times, and reject invalid values."""

from __future__ import annotations

import polars as pl

from segue.errors import DataError


def clean_numbers(series: pl.Series, noun: str) -> pl.Series:
    """Return finite float32 numbers.

    Raises:
        DataError: a value is not a finite number; the message names the first such row.
    """
    texts = series.str.strip_chars() if series.dtype == pl.String else series
    numbers = texts.cast(pl.Float32, strict=False)
    bad = (numbers.is_null() | ~numbers.is_finite()).fill_null(value=True)
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(
            f"the {noun} in row {row + 1} is {series[row]!r}; every {noun} must be a finite number "
            f"({int(bad.sum()):,} of {series.len():,} rows are not)"
        )
    return numbers


def clean_times(series: pl.Series) -> pl.Series:
    """Return float64 seconds since 1970 from numbers (s, ms, us or ns by their size), dates or ISO text.

    Raises:
        DataError: a value is not a time; the message names the first such row.
    """
    original = series
    if series.dtype == pl.String:
        series = series.str.strip_chars()
        numbers = series.cast(pl.Float64, strict=False)
        series = numbers if numbers.null_count() * 2 < numbers.len() else _parse_dates(series)
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        seconds = series.cast(pl.Datetime("us")).to_physical().cast(pl.Float64) / 1e6
    elif series.dtype.is_numeric():
        seconds = series.cast(pl.Float64)
        largest = seconds.filter(seconds.is_finite()).abs().max()
        for bound, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
            if isinstance(largest, float) and largest >= bound:
                seconds = seconds / unit
                break
    else:
        raise DataError(f"times must be numbers, dates or ISO text, but these are {series.dtype}")
    bad = (seconds.is_null() | ~seconds.is_finite()).fill_null(value=True)
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(
            f"the time in row {row + 1} is {original[row]!r}, not a number, a date or ISO text; "
            "correct it or leave the column out"
        )
    return seconds


def _parse_dates(texts: pl.Series) -> pl.Series:
    """Parse ISO text as dates in UTC; null for other text, since 1/2/2020 is ambiguous."""
    iso = texts.to_frame("text").select(pl.when(pl.col("text").str.contains(r"^\d{4}-\d{2}")).then("text"))
    try:
        return iso.to_series().str.to_datetime(strict=False, time_zone="UTC")
    except pl.exceptions.ComputeError:  # no format fits the first text
        return pl.Series(texts.name, [None] * texts.len(), pl.Datetime("us"))
