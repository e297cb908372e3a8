"""The trained recommender: lists, explanations, search, updates. Ids and frames outside, rows inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from segue import store
from segue.data.ids import Id
from segue.data.interactions import Interactions
from segue.errors import DataError, SettingError
from segue.index.base import Neighbors
from segue.index.checks import check_k
from segue.models import spec_of
from segue.online.profile import Profile, ProfileKind
from segue.online.space import Space
from segue.progress import Progress, silent
from segue.recommender.exclusions import check_exclude_pairs
from segue.recommender.explanations import explain_vector, reasons_frame
from segue.recommender.feature_effects import feature_effects
from segue.recommender.filters import ItemFilters
from segue.recommender.frames import as_series, ranked_frame
from segue.recommender.histories import check_history
from segue.recommender.lists import list_for_profile, list_for_vector, lists_for_rows
from segue.recommender.options import ListOptions, check_on_unknown
from segue.recommender.ranker import Ranker
from segue.recommender.serialization import to_stored
from segue.recommender.state import RecommenderState
from segue.recommender.text_search import ItemSearch
from segue.recommender.updates import (
    Columns,
    encode_features,
    text_index_of,
    with_interactions,
    with_new_items,
)
from segue.text.index import TextMatches, personalize
from segue.types import CSR

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from segue.recommender.options import ListArguments

RERANKED = 100  # the best items by text that `search` orders by taste
BATCH = 16_384  # users (or items) per batch
EXPLAINED = 5  # reasons of each item in `explain`


@dataclass(frozen=True, eq=False, repr=False)
class TrainedRecommender(RecommenderState):
    """A trained model with its index: recommends, explains, searches, updates itself, and saves itself.

    It is a value: methods that change something return a new recommender.
    """

    def __repr__(self) -> str:
        return (
            f"TrainedRecommender({self.settings.model!r}, {len(self.users):,} users, "
            f"{len(self.items):,} items, version={self.version})"
        )

    def recommend(
        self,
        users: Id | Iterable[Id] | None = None,
        k: int = 10,
        *,
        on_unknown: str = "raise",
        exclude_pairs: object = None,
        progress: Progress = silent,
        **options: Unpack[ListArguments],
    ) -> pl.DataFrame:
        """Recommend k items to each user.

        Users without a history get the most popular items; a score is then the number of an item's users.

        Args:
            users: one id, many ids, or None for all users.
            k: the number of items for each user; lists are shorter only if fewer items are allowed.
            on_unknown: unknown users get an error ("raise"), no rows ("skip"), or popular items ("popular").
            exclude_pairs: (requested users) × items sparse matrix of further pairs to exclude.
            progress: callback for the number of users done.
            options: the fields of `ListOptions`, such as exclude, where, explore, explain, seed.

        Returns:
            A frame of user_id, item_id, score, rank; propensity, title and reasons where there are any.

        Raises `UnknownIdError` for unknown users, `SettingError` for options that do not exist.
        """
        parts = self.recommend_in_parts(
            users, k, on_unknown=on_unknown, exclude_pairs=exclude_pairs, progress=progress, **options
        )
        return pl.concat(list(parts))

    def recommend_in_parts(
        self,
        users: Id | Iterable[Id] | None = None,
        k: int = 10,
        *,
        on_unknown: str = "raise",
        exclude_pairs: object = None,
        progress: Progress = silent,
        **options: Unpack[ListArguments],
    ) -> Iterator[pl.DataFrame]:
        """Yield the frame of `recommend` in parts of some thousand users, so that memory stays bounded."""
        check_on_unknown(on_unknown)
        list_options = ListOptions(k, **options)
        requested, rows, selected = self._user_rows(users, on_unknown)
        allow = self.filters.allowed(list_options)
        pairs = None
        if exclude_pairs is not None:
            pairs = check_exclude_pairs(exclude_pairs, len(selected), len(self.items))[selected]
        for first in range(0, max(1, len(rows)), BATCH):
            progress("recommending", first, len(rows))
            part = slice(first, first + BATCH)
            more = None if pairs is None else pairs[part]
            yield lists_for_rows(self, self.ranker, requested[part], rows[part], list_options, allow, more)
        progress("recommending", len(rows), len(rows))

    def recommend_for(
        self,
        history: Iterable[Id] | Mapping[Id, float] = (),
        k: int = 10,
        *,
        features: Columns | None = None,
        profile: str | ProfileKind | None = None,
        on_unknown: str = "raise",
        **options: Unpack[ListArguments],
    ) -> pl.DataFrame:
        """Recommend k items to a user who is not in the training data.

        Args:
            history: the ids of the user's items, or a mapping of ids to weights (ratings for models that need
                them); weights of zero do not count. An empty history gives the most popular items.
            k: as for `recommend`.
            features: instead of a history, the user's features: a mapping of the columns of the training's
                user features to values, or a frame of one row.
            profile: a kind of profile in `segue.online.PROFILES`, "auto", or settings: the history is then a
                sequence of events, oldest first, that the profile follows, as in the service and in
                `segue play`. By default the history is folded in.
            on_unknown: items of the history that the model does not know: an error ("raise"), or they are
                ignored ("skip" or "popular").
            options: as for `recommend`.

        Returns:
            A frame like that of `recommend`, without user_id.

        Raises `DataError` for weights that are negative or not finite, and for missing ratings.
        """
        check_on_unknown(on_unknown)
        list_options = ListOptions(k, **options)
        # a profile follows likes and dislikes, not ratings, so a list of ids is enough for any model
        needs_ratings = profile is None and spec_of(self.settings.model).ratings
        matrix = check_history(history, self.items, needs_ratings=needs_ratings, on_unknown=on_unknown)
        if features is not None and matrix.nnz:
            raise SettingError("recommend_for takes a history or features=, not both: leave one out")
        allow = self.filters.allowed(list_options)
        if profile is not None:
            kind = Profile(profile, self.space)
            return list_for_profile(self, self.ranker, kind, history, matrix, list_options, allow)
        vectors = self.fold_in(matrix) if features is None else self.users_of(features)
        if len(vectors) != 1:
            raise DataError(f"features= has {len(vectors)} rows, but recommend_for takes those of one user")
        return list_for_vector(self, self.ranker, vectors, matrix, list_options, allow)

    def explain(
        self,
        items: Id | Iterable[Id],
        *,
        user: Id | None = None,
        history: Iterable[Id] | Mapping[Id, float] | None = None,
        most: int = EXPLAINED,
    ) -> pl.DataFrame:
        """Split the scores of items, for a user or for a history, into what accounts for them.

        Args:
            items: the items to explain.
            user: a trained user, or
            history: a history as for `recommend_for`.
            most: the number of reasons of each item.

        Returns:
            A frame of item_id, reason, value, share, title, one row per reason: "pick" (an item of the user,
            with its id as the value), "feature" (`genres=Drama`, for models with item features), "other" (the
            sum of smaller reasons) and "remainder" (the unattributed remainder). The shares of an item add up
            to its score.

        Raises `UnknownIdError` for unknown ids, `SettingError` unless one of user and history is given.
        """
        if (user is None) == (history is None):
            raise SettingError("explain takes either user= or history=", arguments=("user", "history"))
        item_rows = self.items.require(as_series(items))
        if user is not None:
            row = self.users.require([user])
            vector, matrix = self.embeddings.users[row[0]], self.histories(row)
        else:
            needs_ratings = spec_of(self.settings.model).ratings
            matrix = check_history(history or (), self.items, needs_ratings=needs_ratings)
            vector = self.fold_in(matrix)[0]
        reasons = explain_vector(self, self.ranker, vector, self.ranker.picks(matrix), item_rows, most)
        return reasons_frame(reasons, self.items.series.gather(item_rows))

    def similar(
        self,
        items: Id | Iterable[Id] | None = None,
        k: int = 10,
        *,
        exclude: Iterable[Id] = (),
        allow: Iterable[Id] | None = None,
        where: Iterable[str] = (),
        progress: Progress = silent,
    ) -> pl.DataFrame:
        """Return the k nearest items of each item by cosine: item_id, neighbor_id, score, rank (and title).

        Args:
            items: one id, many ids, or None for all items.
            k: the number of neighbors; an item is not its own neighbor.
            exclude, allow, where, progress: as for `recommend`.
        """
        bits = self.filters.allowed(ListOptions(k, exclude=exclude, allow=allow, where=where))
        rows = self.items.require(self.items.series if items is None else as_series(items))
        parts = []
        for first in range(0, max(1, len(rows)), BATCH):
            progress("comparing", first, len(rows))
            part = rows[first : first + BATCH]
            neighbors = self.ranker.similar(part, k, bits)
            names = pl.DataFrame({"item_id": self.items.series.gather(part)})
            parts.append(ranked_frame(self, neighbors, names, "neighbor_id"))
        progress("comparing", len(rows), len(rows))
        return pl.concat(parts)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        by: str = "both",
        user: Id | None = None,
        bend: float = 0.3,
        exclude: Iterable[Id] = (),
        allow: Iterable[Id] | None = None,
        where: Iterable[str] = (),
    ) -> pl.DataFrame:
        """Find items by text: a frame of item_id, score, rank (and title).

        A model that was fit without text is searched by title.

        Args:
            query: words; typing errors are tolerated if the model was fit with text.
            k: the number of items at most.
            by: "words" (BM25), "meaning" (cosine of text vectors), or "both".
            user: rerank the results by this user's taste.
            bend: the weight of the taste, from 0 (none) to 1 (order by taste alone).
            exclude, allow, where: as for `recommend`.

        Raises `DataError` for `by="words"` or `"meaning"` without text, `SettingError` for a query without
        words.
        """
        bits = self.filters.allowed(ListOptions(k, exclude=exclude, allow=allow, where=where))
        if user is None:
            rows, scores = self.text_search.find(query, k, by=by, allow=bits)
        else:
            text_index_of(self)
            vector = self.embeddings.users[self.users.require([user])[0]]
            matches = TextMatches(*self.text_search.find(query, max(check_k(k), RERANKED), by=by, allow=bits))
            preferences = self.embeddings.items[matches.rows] @ vector
            rows, scores = personalize(matches, preferences, bend, k)
        return ranked_frame(self, Neighbors(rows[None], scores[None], np.zeros(1, np.int64)))

    def predict(self, users: Id | Iterable[Id], items: Id | Iterable[Id]) -> np.ndarray:
        """Return the scores (n,) float32 of n pairs of a user and an item; ratings for rating models.

        Raises `UnknownIdError` for unknown ids, `DataError` if the numbers differ.
        """
        rows, columns = self.users.require(as_series(users)), self.items.require(as_series(items))
        if len(rows) != len(columns):
            raise DataError(
                f"{len(rows):,} users and {len(columns):,} items make no pairs: give one item for each user"
            )
        scores: np.ndarray = np.einsum(
            "ij,ij->i", self.embeddings.users[rows], self.embeddings.items[columns]
        )
        return scores

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Return the vectors (q, dim) float32 of histories, a q × items CSR of weights."""
        vectors: np.ndarray = self._fold_in.fold_in(histories)
        return vectors

    def users_of(self, features: Columns) -> np.ndarray:
        """Return the vectors (q, dim) float32 of users from their features, a frame or a mapping of columns.

        Raises `DataError` if the model was trained without user features, and for a missing column.
        """
        return self.embeddings.users_of(encode_features(self.user_encoding, features, "user"))

    def with_items(
        self,
        items: Iterable[Id],
        features: Columns | None = None,
        *,
        texts: Columns | None = None,
        progress: Progress = silent,
    ) -> TrainedRecommender:
        """Return a recommender with further items, placed by their features or their text.

        Args:
            items: the new ids.
            features: a frame or mapping of the columns of the training's item features, one row per new item.
            texts: a frame or mapping of the columns of the item metadata, one row per new item. A map learned
                from the trained items leads from the text to a vector; the new items are searchable, too.
            progress: callback for the texts encoded.

        Raises `DataError` for ids that exist already, row counts that differ, and if the model was trained
        without features or text; `SettingError` unless one of features and texts is given.
        """
        changes = with_new_items(self, as_series(items), features, texts, progress)
        return replace(self, **changes, version=None)

    def partial_fit(
        self,
        interactions: Interactions,
        *,
        item_features: Columns | None = None,
        user_features: Columns | None = None,
        duplicates: str = "sum",
        progress: Progress = silent,
    ) -> TrainedRecommender:
        """Return a recommender that includes new interactions, users and items, without a full training.

        Users and items with new interactions are learned again from all of theirs (gradient descent updates
        only items with a sufficient share of new ones). Other vectors are unchanged; new rows come last.

        Args:
            interactions: the new interactions only.
            item_features, user_features: if the model was trained with them, a frame or mapping of their
                columns with one row for each item or user of `interactions`; for items the default is their
                metadata.
            duplicates: "sum" adds the weights of pairs that exist already, "last" keeps the new weight.
            progress: callback for the passes.

        Raises `DataError` for missing features, and for weights or ids that the model cannot take.
        """
        features = {"item": item_features, "user": user_features}
        changes = with_interactions(self, interactions, features, duplicates, progress)
        return replace(self, **changes, metrics={}, version=None)

    def feature_biases(self) -> pl.DataFrame:
        """Return the effect of each feature: side, column, value, bias and length of its vector.

        The bias is what a feature adds to the score for all users, null for models without biases; the length
        measures how much its effect depends on the user.
        """
        return feature_effects(self)

    def save(self, folder: str | Path) -> TrainedRecommender:
        """Write a new version into a model folder, make it current, and return the recommender with it."""
        return replace(self, version=store.write(folder, *to_stored(self)))

    @cached_property
    def ranker(self) -> Ranker:
        """The ranker of this model: item rows, scores and propensities."""
        return Ranker(self)

    @cached_property
    def filters(self) -> ItemFilters:
        """The bitmaps of allowed items."""
        return ItemFilters(self)

    @cached_property
    def text_search(self) -> ItemSearch:
        """The search of items by text or title."""
        return ItemSearch(self)

    @property
    def space(self) -> Space:
        """The item vectors, as profiles use them."""
        return self.ranker.space

    @cached_property
    def _fold_in(self) -> Any:
        return self.settings.model.prepare_fold_in(self.embeddings)

    def _user_rows(
        self, users: Id | Iterable[Id] | None, on_unknown: str
    ) -> tuple[pl.Series, np.ndarray, np.ndarray]:
        """The users that get a list, their rows (-1 for unknown), and a mask of them among the requested."""
        if users is None:
            rows = np.arange(len(self.users), dtype=np.int32)
            return self.users.series, rows, np.ones(len(rows), bool)
        requested = as_series(users)
        rows = self.users.require(requested) if on_unknown == "raise" else self.users.rows(requested)
        selected = rows >= 0 if on_unknown == "skip" else np.ones(len(rows), bool)
        return requested.filter(pl.Series(selected, dtype=pl.Boolean)), rows[selected], selected
