"""Merge several ranked lists into one, each with its share of the places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def interleave(
    lists: Sequence[Sequence[int]], scores: Sequence[Sequence[float]], weights: np.ndarray, k: int
) -> tuple[list[int], list[float]]:
    """Merge ranked lists of item rows by smooth weighted round-robin: the first k rows and their scores.

    At each place every list gains its weight as credit, and the list with the largest credit (the first of
    equals) contributes its next item that is not in the result yet and pays 1. With the weights .7 and .3
    the order is A B A A B A A A B A. A row of -1 ends a list.

    Args:
        lists: item rows of each list, best first.
        scores: their scores; an item keeps the score of the list that contributes it.
        weights: (lists,) the share of each list.
        k: the number of places.
    """
    queues = [iter(zip(rows, values, strict=False)) for rows, values in zip(lists, scores, strict=True)]
    credit = np.zeros(len(queues))
    merged: dict[int, float] = {}
    while len(merged) < k and np.isfinite(credit).any():
        credit += weights
        place = int(np.argmax(credit))
        entry = next(((row, value) for row, value in queues[place] if row >= 0 and row not in merged), None)
        if entry is None:
            credit[place] = -np.inf
            continue
        credit[place] -= 1
        merged[entry[0]] = entry[1]
    return list(merged), list(merged.values())
