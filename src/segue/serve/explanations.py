"""Reasons: what each item of a list owes its score to, told with the list."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from segue.errors import SettingError
from segue.online.explanations import Shares, by_events, by_picks
from segue.serve.loaded_model import LoadedModel
from segue.serve.user_state import UserState

MOST = 3  # reasons of an item
PICKS = 1000  # of a person, the latest, that are looked through


def why(
    generation: LoadedModel, person: UserState | None, vector: np.ndarray, had: np.ndarray, rows: list[int]
) -> list[list[dict[str, Any]]]:
    """Return for each item the picks that add most to its score, and what is nobody's ("rest").

    `person` is who moved since training, or None; then `had` are the rows of what the vector was learned of.
    """
    if not rows:
        return []
    wanted = np.array(rows)
    try:
        picks, shares = _shares(generation, person, vector, had, wanted)
    except SettingError:  # a profile of several queries: each result is near one pick, of which none is told
        return [[] for _ in rows]
    told = []
    for parts, rest in zip(shares.parts, shares.remainder, strict=True):
        best = [int(place) for place in np.argsort(-np.abs(parts), kind="stable")[:MOST] if parts[place]]
        cards = generation.cards([int(picks[place]) for place in best])
        reasons: list[dict[str, Any]] = [
            {"reason": "pick", "item_id": card[0], "title": card[1], "share": float(parts[place])}
            for place, card in zip(best, cards, strict=True)
        ]
        reasons.append({"reason": "rest", "share": float(rest + parts.sum() - parts[best].sum())})
        told.append(reasons)
    return told


def _shares(
    generation: LoadedModel, person: UserState | None, vector: np.ndarray, had: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, Shares]:
    profile, recommender = generation.profile, generation.recommender
    if person is None:
        known = had[profile.space.known(had)] if len(had) else had
        return known, by_picks(profile.space, vector, known, np.ones(len(known)), wanted)
    deeds = [deed for deed in person.deeds if deed.weight and deed.row >= 0]
    deeds = [deed for deed in deeds[-PICKS:] if profile.space.known(deed.row)]
    start = recommender.embeddings.users[person.row] if generation.is_known(person.row) else None
    shares = by_events(
        profile,
        wanted,
        np.array([deed.row for deed in deeds]),
        [deed.weight for deed in deeds],
        [deed.time for deed in deeds],
        start=start,
        now=time.time(),
    )
    return np.array([deed.row for deed in deeds]), shares
