"""Query contexts: what a list is based on, from a user, a history, features or a vector."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from segue.online import Queries
from segue.recommender.exclusions import NO_ITEMS
from segue.recommender.explanations import Reason, explain_profile
from segue.recommender.lists import vector_reasons
from segue.recommender.queries import (
    NO_PICKS,
    ONE_QUERY,
    UNTRAINED,
    Event,
    Picks,
    UserQuery,
    profile_query,
)
from segue.serve.service.loaded_model import LoadedModel
from segue.serve.service.user_state import UserState, start_vector, training_items
from segue.types import CSR

PROFILE, TRAINED, HISTORY, FEATURES, VECTOR, POPULAR = (
    "profile", "trained", "history", "features", "vector", "popular"
)  # fmt: skip


class QueryContext(NamedTuple):
    """What a list is based on.

    Attributes:
        vectors: (m, dim) float32, one query per interest; zeros if nothing is known.
        weights: (m,) the share of the list that each query gets.
        exclude: sorted int32 rows of the items that the user already has.
        source: where the vectors come from, as lists report it.
        row: the row of the user, -1 if they are not in the training data.
        history: the weights behind a folded-in vector, 1 × items, or None.
        user: the state of the user for the source "profile", else None.
        time: when the profile was read, in seconds since 1970.
    """

    vectors: np.ndarray
    weights: np.ndarray
    exclude: np.ndarray
    source: str
    row: int = -1
    history: CSR | None = None
    user: UserState | None = None
    time: float = 0.0


def user_context(model: LoadedModel, user_id: str, user: UserState | None) -> QueryContext:
    """Return the context of a user: their profile, else their trained vector, else popular items.

    `user` is their state if they have events, else None.
    """
    if user is not None and user.has_moved:
        now = time.time()
        queries: Queries = user.queries(now)
        if len(queries.vectors):
            return QueryContext(
                queries.vectors, queries.weights, user.exclude, PROFILE, user.row, user=user, time=now
            )
    row = model.user_row(user_id)
    embeddings = model.recommender.embeddings
    exclude = training_items(model.recommender, row) if user is None else user.exclude
    if model.is_trained(row):
        return QueryContext(embeddings.users[row : row + 1], ONE_QUERY, exclude, TRAINED, row)
    return QueryContext(np.zeros((1, embeddings.dim), np.float32), ONE_QUERY, exclude, POPULAR, row)


def history_context(model: LoadedModel, history: CSR) -> QueryContext:
    """Return the context of an untrained user with a history, a checked CSR (1 × items)."""
    vectors = model.recommender.fold_in(history)
    exclude = np.unique(history.indices).astype(np.int32)
    source = HISTORY if vectors.any() else POPULAR
    return QueryContext(vectors, ONE_QUERY, exclude, source, history=history)


def vector_context(vectors: np.ndarray, source: str) -> QueryContext:
    """Return the context of a vector (1, dim) from features or from the request."""
    return QueryContext(vectors, ONE_QUERY, NO_ITEMS, source if vectors.any() else POPULAR)


def user_query(model: LoadedModel, context: QueryContext, exclude: np.ndarray) -> UserQuery:
    """Return a context as the ranker takes it; `exclude` are the sorted rows of the items to exclude."""
    picks = _picks(model, context)
    seed_key = context.row + 1 if context.row >= 0 else UNTRAINED
    if context.user is not None:
        return profile_query(
            model.profile,
            context.user.state,
            now=context.time,
            exclude=exclude,
            picks=picks,
            seed_key=seed_key,
        )
    return UserQuery(context.vectors, context.weights, exclude, picks, seed_key)


def reasons(
    model: LoadedModel, context: QueryContext, query: UserQuery, items: np.ndarray
) -> list[list[Reason]]:
    """Return the reasons of item rows (m,) for a context and its query."""
    recommender = model.recommender
    if context.user is None:
        return vector_reasons(recommender, recommender.ranker, query.main, query.picks, items)
    events = [Event(event.row, event.weight, event.time) for event in context.user.events]
    start = start_vector(recommender, model.profile, context.row)
    return explain_profile(recommender, model.profile, events, items, start=start, now=context.time)


def _picks(model: LoadedModel, context: QueryContext) -> Picks:
    """The items behind the vector of a context, with the confidence that the model gives each."""
    recommender = model.recommender
    if context.source in (VECTOR, FEATURES, POPULAR) and context.history is None:
        return NO_PICKS
    history = context.history
    if history is None:
        history = recommender.histories(np.array([context.row]))
    if context.user is not None:
        likes = [event for event in context.user.events if event.row >= 0 and event.weight > 0]
        rows = np.array([event.row for event in likes], np.int32)
        weights = np.array([event.weight for event in likes], np.float32)
        shape = (1, len(recommender.items))
        history = history + sp.csr_matrix((weights, (np.zeros(len(rows), np.int32), rows)), shape)
    return recommender.ranker.picks(history)
