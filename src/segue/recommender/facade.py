"""The recommender: the only place that knows all the parts, from interactions to a list for a person."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from segue import store
from segue.data.features import IDENTITY, Encoding, Features
from segue.data.ids import Id, IdMap
from segue.data.interactions import Interactions
from segue.errors import CorruptModelError, DataError, SettingError
from segue.index import INDEXES, Exact
from segue.index.base import Neighbors, check_k
from segue.models import FEATURED, HYBRID, MODELS, Embeddings
from segue.models.baselines import popularity
from segue.models.explicit import BiasedMF
from segue.models.text import Text
from segue.online.explain import SHOWN, by_features, by_picks, reasons
from segue.online.ranking import ListRanker, RankedLists, SelectionPolicy
from segue.online.space import Space
from segue.progress import Progress, silent
from segue.recommender.serialization import packed, unpacked
from segue.recommender.updates import encoded, texts_of, with_interactions, with_new_items
from segue.text.index import TextIndex, bent
from segue.validation import named

ON_UNKNOWN = ("raise", "skip", "popular")
BENT = 100  # of the best by text are put in another order by taste
USERS = 16_384  # answered at a time when all are asked for
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Recommender:
    """How to make recommendations: which model learns the vectors, and which index finds them.

    Attributes:
        model: the settings of a model, or its name in `segue.models.MODELS`.
        index: the settings of an index, or its name in `segue.index.INDEXES`.
    """

    model: Any = "ials"
    index: Any = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", named(self.model, MODELS, "model"))
        object.__setattr__(self, "index", named(self.index, INDEXES, "index"))

    def fit(
        self,
        interactions: Interactions,
        *,
        item_features: Features | None = None,
        user_features: Features | None = None,
        validation: Interactions | None = None,
        start: TrainedRecommender | None = None,
        keep_state: bool = False,
        text: Text | None = None,
        progress: Progress = silent,
    ) -> TrainedRecommender:
        """Learn from the interactions and build the index; the result recommends and can be saved.

        `item_features` and `user_features` have a row for each item or user of the interactions; the models
        in `segue.models.FEATURED` take them. Those in `segue.models.HYBRID` also take `validation`, which
        decides when training stops, and go on from an earlier recommender of the same interactions (`start`):
        as if training had not stopped, where its state was kept (`keep_state`), also in its folder.
        `text` says what is written of the items (a `Text` model needs none): it makes them searchable.
        """
        model = self.model.resolved(interactions)
        if start is not None and (start.users != interactions.users or start.items != interactions.items):
            raise DataError(
                f"{start!r} was not trained on the users and items of {interactions!r}, so training cannot "
                "go on from it; its partial_fit takes in new ones"
            )
        features = {"item_features": item_features, "user_features": user_features}
        extra = _taken(model, FEATURED, features) | _taken(
            model,
            HYBRID,
            {
                "validation": validation,
                "start": None if start is None else start.embeddings,
                "keep_state": keep_state or None,
            },
        )
        text = model if isinstance(model, Text) else text
        texts = None if text is None else text.build(interactions.item_metadata, progress=progress)
        if texts is not None and isinstance(model, Text):
            embeddings = model.embed(texts, interactions)
        else:
            embeddings = model.fit(interactions, **extra, progress=progress)
        return TrainedRecommender(
            item_encoding=None if item_features is None else item_features.encoding,
            user_encoding=None if user_features is None else user_features.encoding,
            settings=replace(self, model=model),
            users=interactions.users,
            items=interactions.items,
            embeddings=embeddings,
            index=self.index.build(embeddings.items, queries=embeddings.users, progress=progress),
            seen=interactions.matrix,
            item_metadata=interactions.item_metadata,
            texts=texts,
        )


@dataclass(frozen=True, eq=False)
class TrainedRecommender:
    """Ids, vectors, an index and what every user has already seen.

    Attributes:
        settings: what it was made with.
        users, items: the outside ids of the rows of both sides.
        embeddings: the vectors.
        index: of the item vectors, searched by inner product.
        seen: users × items CSR, the training interactions.
        item_metadata: a row per item (title, genres, …), or None.
        metrics: what an evaluation found, kept beside the model.
        version: the name in its model folder, None before it is saved.
        item_encoding, user_encoding: how new items and users are encoded, where there were features.
        texts: the items' text, searchable, where the model was fit with it.
    """

    settings: Recommender
    users: IdMap
    items: IdMap
    embeddings: Embeddings
    index: Any
    seen: Any
    item_metadata: pl.DataFrame | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    version: str | None = None
    item_encoding: Encoding | None = None
    user_encoding: Encoding | None = None
    texts: TextIndex | None = None

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
        exclude_seen: bool = True,
        exclude: Iterable[Id] = (),
        allow: Iterable[Id] | None = None,
        on_unknown: str = "raise",
        explore: Any = None,
        diversify: Any = None,
        seed: int = 0,
        also_seen: Any = None,
        progress: Progress = silent,
    ) -> pl.DataFrame:
        """Recommend k items to each user: a frame of user_id, item_id, score, rank (and title, where known).

        Args:
            users: one id, many, or None for everyone.
            k: items for each; fewer only where fewer are eligible.
            exclude_seen: leave out what the user had in the training data.
            exclude: items that nobody gets; ids that the model does not know are no matter.
            allow: the only items that may be given; ids that the model does not know are no matter.
            on_unknown: what users get whom the model has never seen: an error ("raise"), no rows
                ("skip"), or the most popular items ("popular"). Users whose vector is zero, because they
                have no history, get the most popular items in any case; their score is its number of users.
            explore: an exploration, by its settings or its name in `segue.online.EXPLORERS`: the frame then
                has a column `propensity`, the probability of each item to be in its list.
            diversify: a way to make lists diverse, likewise of `segue.online.DIVERSIFIERS`.
            seed: of the exploration. What a user gets does not depend on who else is asked for.
            also_seen: (users asked) × items CSR, what each must not get beside the training data.
            progress: told of the users answered so far.
        """
        parts = self.recommend_in_parts(
            users,
            k,
            exclude_seen=exclude_seen,
            exclude=exclude,
            allow=allow,
            on_unknown=on_unknown,
            explore=explore,
            diversify=diversify,
            seed=seed,
            also_seen=also_seen,
            progress=progress,
        )
        return pl.concat(list(parts))

    def recommend_in_parts(
        self,
        users: Id | Iterable[Id] | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        exclude: Iterable[Id] = (),
        allow: Iterable[Id] | None = None,
        on_unknown: str = "raise",
        explore: Any = None,
        diversify: Any = None,
        seed: int = 0,
        also_seen: Any = None,
        progress: Progress = silent,
    ) -> Iterator[pl.DataFrame]:
        """Yield what `recommend` returns, some thousand users at a time, so that memory stays bounded."""
        check_choice(on_unknown)
        check_k(k)
        choice = SelectionPolicy(explore, diversify, seed)
        asked, rows, kept = self._rows_of(users, on_unknown)
        eligible = self._eligible(exclude, allow)
        if also_seen is not None:
            also_seen = _fitting(also_seen, len(kept), len(self.items))[kept]
        for first in range(0, max(1, len(rows)), USERS):
            progress("recommending", first, len(rows))
            part = slice(first, first + USERS)
            more = None if also_seen is None else also_seen[part]
            found = self._for_rows(rows[part], k, exclude_seen, eligible, choice, more)
            names = pl.DataFrame({"user_id": self._named(asked[part], rows[part])})
            yield self._frame(found, names, "item_id")
        progress("recommending", len(rows), len(rows))

    def recommend_for(
        self,
        history: Iterable[Id] | Mapping[Id, float] = (),
        k: int = 10,
        *,
        features: Any = None,
        exclude_seen: bool = True,
        exclude: Iterable[Id] = (),
        allow: Iterable[Id] | None = None,
        on_unknown: str = "raise",
        explore: Any = None,
        diversify: Any = None,
        seed: int = 0,
    ) -> pl.DataFrame:
        """Recommend k items to someone new: a frame of item_id, score, rank (and title).

        Args:
            history: the ids of the items the person had, or a mapping of them to weights, of which those of
                zero do not count. With an empty history the most popular items are recommended; a
                `BiasedMF`, which needs a mapping to ratings, recommends the best rated.
            features: instead of a history, what is known of the person: a mapping of the columns of the
                training's user features to values, or a frame of one row.
            k, exclude_seen, exclude, allow, explore, diversify, seed: as for `recommend`.
            on_unknown: items of the history that the model does not know: an error ("raise"), or they
                are left out ("skip" or "popular").

        Raises `DataError` for weights that are negative or no finite numbers, and where ratings are missing.
        """
        check_choice(on_unknown)
        check_k(k)
        histories = self._history_of(history, on_unknown)
        seen = histories if exclude_seen else None
        if features is None:
            vectors = self.fold_in(histories)
        elif histories.nnz:
            raise SettingError("recommend_for takes a history or features=, not both: leave one out")
        else:
            vectors = self.users_of(features)
            if len(vectors) != 1:
                raise DataError(f"features of {len(vectors)} people came, but recommend_for is for one")
        choice, eligible = SelectionPolicy(explore, diversify, seed), self._eligible(exclude, allow)
        found = self._listed(vectors, k, seen, eligible, choice, histories, np.zeros(1, np.int32))
        return self._frame(found, pl.DataFrame(), "item_id")

    def explain(
        self, items: Id | Iterable[Id], *, user: Id | None = None, history: Any = None, most: int = SHOWN
    ) -> pl.DataFrame:
        """Split the scores of items for a user, or for somebody with a history, into what earned them.

        A frame of item_id, reason, value, share (and title, where known). The reason is "pick", a past item,
        its id in the column value; or "feature" (`genres=Drama`) for models with item features; "other", what
        lies beyond the `most` largest; and "rest", what is nobody's. The shares of an item add up to its
        score.

        Raises `UnknownIdError` for ids that the model does not know, and `SettingError` unless there is
        either a user or a history.
        """
        if (user is None) == (history is None):
            raise SettingError("explain takes either user= or history=: say for whom")
        asked = self.items.require(_as_series(items))
        if user is not None:
            row = self.users.require([user])
            vector, picks = self.embeddings.users[row[0]], self.history(row)
        else:
            picks = self._history_of(history)
            vector = self.fold_in(picks)[0]
        ids = self.items.series.gather(asked).alias("item_id")
        if self.item_encoding is not None:
            table = pl.DataFrame() if self.item_metadata is None else self.item_metadata[asked]
            features = self.item_encoding.encode(table, self.items.series.gather(asked))
            values = pl.DataFrame({"reason": "feature", "value": self.item_encoding.names})
            return reasons(by_features(self.embeddings, vector, features, asked), values, ids, most)
        shares = by_picks(self.space, vector, picks.indices, self._confidences(picks), asked)
        values = pl.DataFrame({"value": self.items.series.gather(picks.indices)})
        values = values.select(pl.lit("pick").alias("reason"), "value")
        titles = self.titles(picks.indices)
        return reasons(
            shares, values if titles is None else values.with_columns(titles.alias("title")), ids, most
        )

    def similar(
        self,
        items: Id | Iterable[Id] | None = None,
        k: int = 10,
        *,
        exclude: Iterable[Id] = (),
        allow: Iterable[Id] | None = None,
        progress: Progress = silent,
    ) -> pl.DataFrame:
        """Find the items nearest to items: a frame of item_id, neighbor_id, score (cosine), rank (and title).

        Args:
            items: one id, many, or None for all items.
            k: neighbours for each; an item is never its own neighbour.
            exclude, allow: as for `recommend`.
            progress: told of the items answered so far.
        """
        check_k(k)
        asked = self.items.series if items is None else _as_series(items)
        rows = self.items.require(asked)
        eligible = self._eligible(exclude, allow)
        parts = []
        for first in range(0, max(1, len(rows)), USERS):
            progress("comparing", first, len(rows))
            part = rows[first : first + USERS]
            found = self.alike(part, k, eligible)
            names = pl.DataFrame({"item_id": self.items.series.gather(part)})
            parts.append(self._frame(found, names, "neighbor_id"))
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
    ) -> pl.DataFrame:
        """Find items by text: a frame of item_id, score, rank (and title).

        Args:
            query: some words; typing errors are forgiven.
            k: items at most; fewer where fewer are eligible, and by words where fewer have any of them.
            by: "words" (BM25), "meaning" (cosines of text vectors), or "both".
            user: whose taste bends the order, if it is not to be the same for everybody.
            bend: how far, from 0 (not at all) to 1 (what is found stands in the order of the user's taste).
            exclude, allow: as for `recommend`.

        Raises `DataError` where the model was fit without text, `SettingError` for a query without words.
        """
        texts, eligible = texts_of(self), self._eligible(exclude, allow)
        if user is None:
            rows, scores = texts.search(query, k, by=by, allow=eligible)
        else:
            vector = self.embeddings.users[self.users.require([user])[0]]
            found = texts.search(query, max(check_k(k), BENT), by=by, allow=eligible)
            rows, scores = bent(*found, self.embeddings.items[found[0]] @ vector, bend, k)
        names = pl.DataFrame()
        return self._frame(Neighbors(rows[None], scores[None], np.zeros(1, np.int64)), names, "item_id")

    def predict(self, users: Id | Iterable[Id], items: Id | Iterable[Id]) -> np.ndarray:
        """Return the scores (n,) float32 of n pairs of a user and an item: ratings where the model has them.

        Raises `UnknownIdError` for ids that the model does not know, `DataError` where there are not as many
        users as items.
        """
        rows, columns = self.users.require(_as_series(users)), self.items.require(_as_series(items))
        if len(rows) != len(columns):
            raise DataError(
                f"{len(rows):,} users and {len(columns):,} items make no pairs: name one item for each user"
            )
        scores: np.ndarray = np.einsum(
            "ij,ij->i", self.embeddings.users[rows], self.embeddings.items[columns]
        )
        return scores

    def fold_in(self, histories: Any) -> np.ndarray:
        """Find the vectors (q, dim) float32 of people from their histories, a q × items CSR of weights."""
        vectors: np.ndarray = self._folding.vectors(histories)
        return vectors

    def users_of(self, features: Any) -> np.ndarray:
        """Find the vectors (q, dim) float32 of people from their features, a frame or a mapping.

        Raises `DataError` where the model was trained without user features, and for a missing column.
        """
        return self.embeddings.users_of(encoded(self.user_encoding, features, "user"))

    def with_items(
        self, items: Iterable[Id], features: Any = None, *, texts: Any = None, progress: Progress = silent
    ) -> TrainedRecommender:
        """Add items that were not there in training, placed by features or text; index and ids grow.

        Args:
            items: the new ids.
            features: a frame or mapping of the columns of the training's item features, a row for each id.
            texts: a frame or mapping of the items' table, a row for each id. What is written of an item leads
                to where interactions would have put it, by a map learned from the items that are there; it is
                searchable, too.
            progress: told of the texts that are encoded.

        What is known of the other items (titles, …) is null for those placed by features. Raises `DataError`
        for ids that are there already, rows that do not fit, and where the model was trained without what is
        given; `SettingError` where both are, or neither.
        """
        changed = with_new_items(self, _as_series(items), features, texts, progress)
        return replace(self, **changed, version=None)

    def partial_fit(
        self,
        interactions: Interactions,
        *,
        item_features: Any = None,
        user_features: Any = None,
        duplicates: str = "sum",
        progress: Progress = silent,
    ) -> TrainedRecommender:
        """Take in new interactions without training anew: a recommender that knows their users and items too.

        Users with new interactions are learned anew from all they had, and so are items, of models of many
        small steps only those that a good share is new of; all other vectors stay as they are. Rows keep
        their places, new users and items come after them.

        Args:
            interactions: the new ones only, of known and unknown users and items.
            item_features, user_features: where the model was trained with them, a frame or mapping of their
                columns with a row for each item or user of `interactions`; for items its metadata
                are taken where nothing is given.
            duplicates: of pairs that were there before the weights are summed ("sum"), or the new one is kept
                ("last"), as ratings want it.
            progress: told of the passes.

        Raises `DataError` for features that are missing or do not fit, and for weights or ids that the model
        cannot take.
        """
        features = {"item": item_features, "user": user_features}
        changed = with_interactions(self, interactions, features, duplicates, progress)
        return replace(self, **changed, metrics={}, version=None)

    def feature_biases(self) -> pl.DataFrame:
        """Return what each feature adds by itself: side, column, value, bias and length of its vector.

        A bias, null where the model has none, says how much a feature raises the score for everybody; the
        length how much it depends on for whom. Identity features (column "id") are left out.
        """
        columns = {
            "side": pl.String,
            "column": pl.String,
            "value": pl.String,
            "bias": pl.Float32,
            "length": pl.Float32,
        }
        parts = [pl.DataFrame(schema=columns)]
        dim = self.embeddings.dim - self.embeddings.biases
        for side, encoding, vectors, place in (
            ("item", self.item_encoding, self.embeddings.item_features, dim + 1),
            ("user", self.user_encoding, self.embeddings.user_features, dim),
        ):
            if encoding is not None and vectors is not None:
                biases = vectors[:, place] if self.embeddings.biases else [None] * len(vectors)
                learned = encoding.table.select(pl.lit(side).alias("side"), "column", "value").with_columns(
                    pl.Series("bias", biases, pl.Float32),
                    pl.Series("length", np.linalg.norm(vectors[:, :dim], axis=1).astype(np.float32)),
                )
                parts.append(learned.filter(pl.col("column") != IDENTITY).sort("bias", descending=True))
        return pl.concat(parts)

    def history(self, rows: np.ndarray) -> Any:
        """Return what the users of some rows had, as a CSR (q × items)."""
        if len(rows) == len(self.users) and np.array_equal(rows, np.arange(len(rows))):
            return self.seen
        starts, stops = self.seen.indptr[rows], self.seen.indptr[rows + 1]
        if (starts < 0).any() or (stops < starts).any() or (stops > self.seen.nnz).any():
            raise CorruptModelError(
                "the table of seen items is damaged; run `segue verify` and restore the model"
            )
        counts = (stops - starts).astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        return sp.csr_matrix(
            (self.seen.data[places], self.seen.indices[places], indptr), (len(rows), len(self.items))
        )

    def save(self, folder: str | Path) -> TrainedRecommender:
        """Write a new version into a model folder and make it the current one; return it with its version."""
        return replace(self, version=store.write(folder, *packed(self)))

    def titles(self, rows: np.ndarray) -> pl.Series | None:
        """Return the titles of some items, None where the model knows of none."""
        if self.item_metadata is None or "title" not in self.item_metadata.columns:
            return None
        return self.item_metadata["title"].gather(rows)

    def _history_of(self, history: Any, on_unknown: str = "raise") -> Any:
        """The history of somebody new as a CSR (1 × items)."""
        if isinstance(self.settings.model, BiasedMF) and not isinstance(history, Mapping):
            raise DataError(
                "BiasedMF learns of ratings, and a list of items has none; give the history as a mapping "
                "of items to ratings, {item: rating}"
            )
        ids = [history] if isinstance(history, (str, int, np.integer)) else list(history)
        weights = _weights_of(history) if isinstance(history, Mapping) else np.ones(len(ids), np.float32)
        rows = self.items.require(ids) if on_unknown == "raise" else self.items.rows(ids)
        known = (rows >= 0) & (weights > 0)
        return sp.csr_matrix(
            (weights[known], (np.zeros(known.sum(), np.int32), rows[known])), (1, len(self.items))
        )

    def _rows_of(self, users: Any, on_unknown: str) -> tuple[pl.Series, np.ndarray, np.ndarray]:
        """Users who get an answer, their rows (-1: what is popular), and which of those asked they are."""
        if users is None:
            rows = np.arange(len(self.users), dtype=np.int32)
            return self.users.series, rows, np.ones(len(rows), bool)
        asked = _as_series(users)
        rows = self.users.require(asked) if on_unknown == "raise" else self.users.rows(asked)
        kept = rows >= 0 if on_unknown == "skip" else np.ones(len(rows), bool)
        return asked.filter(pl.Series(kept, dtype=pl.Boolean)), rows[kept], kept

    def _for_rows(
        self,
        rows: np.ndarray,
        k: int,
        exclude_seen: bool,
        eligible: np.ndarray | None,
        choice: SelectionPolicy,
        also_seen: Any,
    ) -> Neighbors | RankedLists:
        """Search for user rows; the row -1 is somebody unknown, who gets what is popular."""
        known = rows >= 0
        vectors = np.zeros((len(rows), self.embeddings.dim), np.float32)
        vectors[known] = self.embeddings.users[rows[known]]
        seen = None
        if exclude_seen:
            seen = self.history(rows) if known.all() else spread(self.history(rows[known]), known)
        if also_seen is not None:
            seen = also_seen if seen is None else seen + also_seen
        histories = None
        if not choice.plain:
            histories = self.history(rows) if known.all() else spread(self.history(rows[known]), known)
        return self._listed(vectors, k, seen, eligible, choice, histories, rows)

    def _listed(
        self,
        vectors: np.ndarray,
        k: int,
        seen: Any,
        eligible: Any,
        choice: SelectionPolicy,
        histories: Any,
        keys: Any,
    ) -> Neighbors | RankedLists:
        """The best, or what the choice makes of them; where nothing is known, what is popular."""
        if choice.plain:
            return self.nearest(vectors, k, seen, eligible)

        def picks(place: int) -> tuple[np.ndarray, np.ndarray]:
            return histories[place].indices, self._confidences(histories[place])

        made = self._audience.shown(choice, vectors, k, seen, eligible, picks, keys + 1)
        blank = ~vectors.any(1)
        if blank.any():
            popular = self.nearest(vectors[blank], k, None if seen is None else seen[blank], eligible)
            made.ids[blank], made.scores[blank], made.propensities[blank] = *popular[:2], 1.0
        return made if choice.explore is not None else Neighbors(*made[:2], np.zeros(len(vectors), np.int64))

    def _confidences(self, history: Any) -> np.ndarray:
        """What each pick of a history counts for iALS."""
        weighted = getattr(self.settings.model, "confidence", "binary") == "weights"
        return np.asarray(history.data if weighted else np.ones(history.nnz, np.float32))

    def nearest(
        self, vectors: np.ndarray, k: int, seen: Any = None, eligible: np.ndarray | None = None
    ) -> Neighbors:
        """Find the k best items of user vectors (q, dim); where one is zero, the most popular items.

        `seen` (CSR) and `eligible` (bitmap) are what a search calls exclude and allow.
        """
        blank = np.asarray(~vectors.any(1))
        if not blank.any():
            found: Neighbors = self.index.search(vectors, k, exclude=seen, allow=eligible)
            return found
        ones = np.ones((int(blank.sum()), 1), np.float32)
        popular = self._popular.search(ones, k, exclude=None if seen is None else seen[blank], allow=eligible)
        if blank.all():
            return Neighbors(*popular)
        others: Neighbors = self.index.search(
            vectors[~blank], k, exclude=None if seen is None else seen[~blank], allow=eligible
        )
        return Neighbors(
            *(
                _interleave(blank, everyones, theirs)
                for everyones, theirs in zip(popular, others, strict=True)
            )
        )

    def alike(self, rows: np.ndarray, k: int, eligible: np.ndarray | None = None) -> Neighbors:
        """Find the k items nearest by cosine to the items of some rows, each without itself."""
        itself = _one_each(rows, len(self.items))
        vectors = self.embeddings.item_directions[rows]
        found: Neighbors = self._by_cosine.search(vectors, k, exclude=itself, allow=eligible)
        return found

    def _eligible(self, exclude: Iterable[Id], allow: Iterable[Id] | None) -> np.ndarray | None:
        """The bitmap of the items that may be given, None for all."""
        left_out = self.items.rows(_as_series(exclude))
        if allow is None and not len(left_out):
            return None
        bits = np.full(len(self.items), allow is None)
        if allow is not None:
            given = self.items.rows(_as_series(allow))
            bits[given[given >= 0]] = True
        bits[left_out[left_out >= 0]] = False
        return bits

    def _named(self, asked: pl.Series, rows: np.ndarray) -> pl.Series:
        """The users' ids, in the kind that the model knows; what it does not know stays as it was asked."""
        if (rows >= 0).all():
            return self.users.series.gather(rows)
        return asked if asked.dtype == self.users.series.dtype else asked.cast(pl.String)

    def _frame(self, found: Neighbors | RankedLists, names: pl.DataFrame, column: str) -> pl.DataFrame:
        """One row for each result: the names of the query, the item, its score and rank, and its title."""
        query, place = np.nonzero(found.ids >= 0)
        rows = found.ids[query, place]
        frame = pl.DataFrame(
            {
                **{name: names[name].gather(query) for name in names.columns},
                column: self.items.series.gather(rows),
                "score": found.scores[query, place],
                "rank": (place + 1).astype(np.int32),
            }
        )
        if isinstance(found, RankedLists):
            frame = frame.with_columns(pl.Series("propensity", found.propensities[query, place]))
        titles = self.titles(rows)
        return frame if titles is None else frame.with_columns(titles.alias("title"))

    @cached_property
    def space(self) -> Space:
        """The item vectors as profiles take them."""
        return Space.of(self.embeddings, self.settings.model)

    @cached_property
    def _audience(self) -> ListRanker:
        return ListRanker(self.space, self.index, np.bincount(self.seen.indices, minlength=len(self.items)))

    @cached_property
    def _by_cosine(self) -> Any:
        return Exact(metric="cosine").build(self.embeddings.item_directions)

    @cached_property
    def _popular(self) -> Any:
        return Exact().build(popularity(self.seen))

    @cached_property
    def _folding(self) -> Any:
        return self.settings.model.folding(self.embeddings)


def load(folder: str | Path, version: str | None = None) -> TrainedRecommender:
    """Open a version in a model folder, else the current one; its arrays stay on disk until they are used.

    Raises the errors of `segue.errors.ModelFolderError`: no model, a newer format, damaged files.
    """
    model, index, parts = unpacked(store.open_model(folder, version))
    return TrainedRecommender(Recommender(model, index), **parts)


def _taken(model: Any, able: tuple[type, ...], given: dict[str, Any]) -> dict[str, Any]:
    """What of the arguments is given, or an error where the model takes none of them."""
    named = {name: value for name, value in given.items() if value is not None}
    if named and not isinstance(model, able):
        those = ", ".join(sorted(kind.__name__ for kind in able))
        raise SettingError(
            f"{type(model).__name__} takes no {' and '.join(named)}; those that do are {those}"
        )
    return named


def _fitting(also_seen: Any, users: int, items: int) -> Any:
    if also_seen.shape != (users, items):
        raise DataError(
            f"also_seen has the shape {also_seen.shape}, but it must be ({users}, {items}): "
            "a row for each user asked, a column for each item"
        )
    return sp.csr_matrix(also_seen)


def check_choice(on_unknown: str) -> None:
    """Raise `SettingError` for a policy that does not exist."""
    if on_unknown not in ON_UNKNOWN:
        raise SettingError(f"on_unknown={on_unknown!r} must be one of {', '.join(map(repr, ON_UNKNOWN))}")


def _as_series(ids: Any) -> pl.Series:
    if isinstance(ids, pl.Series):
        return ids
    if isinstance(ids, (str, int, np.integer)):
        ids = [ids]
    values = [one.item() if isinstance(one, np.generic) else one for one in ids]
    mixed = len({type(one) for one in values}) > 1
    return pl.Series(values=[str(one) for one in values] if mixed else values)


def _weights_of(history: Mapping[Any, Any]) -> np.ndarray:
    for item, weight in history.items():
        if not isinstance(weight, (int, float, np.number)) or not 0 <= weight < np.inf:
            raise DataError(
                f"the weight of item {item!r} in the history is {weight!r}; "
                "weights must be finite numbers, none negative"
            )
    return np.array(list(history.values()), np.float32)


def _interleave(first: np.ndarray, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Put the rows of `ones` where `first` is true and those of `others` elsewhere, each in their order."""
    both = np.empty((len(first), *ones.shape[1:]), ones.dtype)
    both[first], both[~first] = ones, others
    return both


def _one_each(rows: np.ndarray, width: int) -> Any:
    """A CSR with one entry in each row."""
    ones = np.ones(len(rows), np.float32)
    return sp.csr_matrix((ones, rows, np.arange(len(rows) + 1)), (len(rows), width))


def spread(matrix: Any, known: np.ndarray) -> Any:
    """Put the rows of a CSR where `known` is true; the other rows stay empty."""
    counts = np.zeros(len(known), np.int64)
    counts[known] = np.diff(matrix.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sp.csr_matrix((matrix.data, matrix.indices, indptr), (len(known), matrix.shape[1]))
