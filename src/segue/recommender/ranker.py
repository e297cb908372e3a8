"""The ranker: item rows, scores and propensities for a list with given options.

It is the only place that does so: the library, the command line, the HTTP service, the play session and
Spark translate ids and render results around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np

from segue.index.base import Neighbors, VectorIndex
from segue.index.exact import Exact
from segue.models.baselines import popularity
from segue.online.candidates import CandidateContext, Selection
from segue.online.diversity import Diversifier, diversify
from segue.online.exploration import Buckets, Optimism, explore
from segue.online.interleaving import interleave
from segue.online.posterior import Posterior
from segue.online.space import Space
from segue.recommender.exclusions import NO_ITEMS, Exclusion, ItemSets, one_item_each
from segue.recommender.options import ListOptions
from segue.recommender.queries import ONE_QUERY, Picks, UserQuery
from segue.recommender.state import RecommenderState
from segue.types import CSR


class RankedLists(NamedTuple):
    """The lists of q queries, best first.

    Attributes:
        ids: (q, k) int32 item rows, -1 after the last item.
        scores: (q, k) float32, the model's scores; -inf where the id is -1.
        propensities: (q, k) float64, the probability of each item to be in its list; NaN where the id is -1.
            None if the lists do not depend on chance.
    """

    ids: np.ndarray
    scores: np.ndarray
    propensities: np.ndarray | None = None


class Ranker:
    """Ranks the items of one trained model.

    Vectors are queries of the model's space, (q, dim) float32. A zero vector means that nothing is known: its
    list has the most popular items, and their scores are numbers of users.
    """

    def __init__(self, state: RecommenderState) -> None:
        self._state = state
        self._index = state.index

    @cached_property
    def space(self) -> Space:
        """The item vectors, as profiles and explorations use them."""
        return Space.of(self._state.embeddings, self._state.settings.model)

    @cached_property
    def counts(self) -> np.ndarray:
        """The number of training users of each item: (n,) int64."""
        return self._state.item_counts()

    def top(
        self,
        vectors: np.ndarray,
        k: int,
        exclude: Exclusion | None = None,
        allow: np.ndarray | None = None,
    ) -> Neighbors:
        """Return the k best items of each vector (q, dim), and the most popular ones where it is zero.

        `exclude` (q × items) and `allow` (a bitmap over the items) are those of `Index.search`.
        """
        blank = np.asarray(~vectors.any(1))
        if not blank.any():
            return self._search(vectors, k, exclude, allow)
        ones = np.ones((int(blank.sum()), 1), np.float32)
        popular: Neighbors = self._by_popularity.search(
            ones, k, exclude=None if exclude is None else exclude[blank], allow=allow
        )
        if blank.all():
            return popular
        others = self._search(vectors[~blank], k, None if exclude is None else exclude[~blank], allow)
        return Neighbors(
            *(_merge_rows(blank, first, second) for first, second in zip(popular, others, strict=True))
        )

    def rank(self, user: UserQuery, options: ListOptions, allow: np.ndarray | None = None) -> RankedLists:
        """Return the list of one user: ids, scores and propensities of the shape (1, k).

        `options.exclude`, `allow`, `where` and `exclude_seen` do not count here: they are resolved to rows in
        `user.exclude` and `allow`.
        """
        if options.is_plain or not user.vectors.any():
            lists = self._plain(user, options.k, allow)
            if options.explorer is None:
                return lists
            return lists._replace(propensities=np.where(lists.ids >= 0, 1.0, np.nan))
        selection = self._select(user, options, allow)
        return _as_lists(selection, options.k, with_propensities=options.explorer is not None)

    def rank_many(
        self,
        vectors: np.ndarray,
        options: ListOptions,
        *,
        exclude: CSR | None = None,
        allow: np.ndarray | None = None,
        histories: CSR,
        seed_keys: np.ndarray,
    ) -> RankedLists:
        """Return the lists of q users with one vector each: ids, scores and propensities (q, k).

        Args:
            vectors: (q, dim) float32.
            options: as for `rank`.
            exclude: q × items, the items that each user must not get.
            allow: (items,) bool, the items that lists may contain.
            histories: q × items, the weights of the items behind each vector; used by exploration only.
            seed_keys: (q,) as `UserQuery.seed_key`.
        """
        if options.is_plain:
            return RankedLists(*self.top(vectors, options.k, exclude, allow)[:2])
        lists = [
            self.rank(user, options, allow) for user in self._users(vectors, exclude, histories, seed_keys)
        ]
        shape = len(vectors), options.k
        ids, scores = np.empty(shape, np.int32), np.empty(shape, np.float32)
        propensities = None if options.explorer is None else np.empty(shape)
        for place, ranked in enumerate(lists):
            ids[place], scores[place] = ranked.ids[0], ranked.scores[0]
            if propensities is not None and ranked.propensities is not None:
                propensities[place] = ranked.propensities[0]
        return RankedLists(ids, scores, propensities)

    def similar(self, rows: np.ndarray, k: int, allow: np.ndarray | None = None) -> Neighbors:
        """Return the k items nearest by cosine to each item of `rows` (q,), without the item itself."""
        vectors = self._state.embeddings.item_directions[rows]
        itself = one_item_each(rows, len(self._state.items))
        neighbors: Neighbors = self._by_cosine.search(vectors, k, exclude=itself, allow=allow)
        return neighbors

    def picks(self, history: CSR) -> Picks:
        """Return the items of a history (1 × items) with the confidence that the model gives each."""
        weighted = getattr(self._state.settings.model, "confidence", "binary") == "weights"
        return Picks(history.indices, history.data if weighted else np.ones(history.nnz, np.float32))

    def _plain(self, user: UserQuery, k: int, allow: np.ndarray | None) -> RankedLists:
        """The best items: of several queries, each contributes its share."""
        exclude = ItemSets([user.exclude] * len(user.vectors), len(self._state.items))
        neighbors = self.top(user.vectors, k, exclude, allow)
        if len(user.vectors) == 1:
            return RankedLists(neighbors.ids, neighbors.scores)
        rows, scores = interleave(neighbors.ids.tolist(), neighbors.scores.tolist(), user.weights, k)
        merged = Selection(np.array(rows, np.int32), np.array(scores, np.float32), np.ones(len(rows)))
        return _as_lists(merged, k, with_propensities=False)

    def _select(self, user: UserQuery, options: ListOptions, allow: np.ndarray | None) -> Selection:
        """Explore or diversify, for a user with a vector."""
        vector = user.main
        items = len(self._state.items)

        def find(queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
            index = self._index if queries.shape[1] == self.space.items.shape[1] else self._optimistic
            exclude = ItemSets([user.exclude] * len(queries), items)
            neighbors = index.search(queries, count, exclude=exclude, allow=allow)
            return neighbors.ids, neighbors.scores

        explorer = options.explorer
        precision = None
        if explorer is not None and explorer.needs_precision:
            precision = self._precision(user)
        bounds = self.space.bounds if isinstance(explorer, Buckets) else None
        context = CandidateContext(
            vector, self.space.items, find, precision, self.counts, self.space.biases, bounds
        )
        if explorer is None:
            diversifier = cast(Diversifier, options.diversifier)  # the options are not plain
            return diversify(diversifier, context, options.k)
        seeds = np.random.SeedSequence([options.seed, user.seed_key])
        return explore(explorer, context, options.k, int(seeds.generate_state(1)[0]))

    def _precision(self, user: UserQuery) -> np.ndarray:
        """The posterior precision of a user's vector; raises `SettingError` for models other than iALS."""
        if user.precision is not None:
            return user.precision()
        return Posterior().precision(self.space, user.picks.rows, user.picks.weights)

    def _users(
        self, vectors: np.ndarray, exclude: CSR | None, histories: CSR, seed_keys: np.ndarray
    ) -> Iterator[UserQuery]:
        for place, key in enumerate(seed_keys.tolist()):
            excluded = NO_ITEMS
            if exclude is not None:
                row = slice(exclude.indptr[place], exclude.indptr[place + 1])
                excluded = np.sort(exclude.indices[row]).astype(np.int32, copy=False)
            picks = self.picks(histories[place])
            yield UserQuery(vectors[place : place + 1], ONE_QUERY, excluded, picks, key)

    def _search(
        self, vectors: np.ndarray, k: int, exclude: Exclusion | None, allow: np.ndarray | None
    ) -> Neighbors:
        return self._index.search(vectors, k, exclude=exclude, allow=allow)

    @cached_property
    def _optimistic(self) -> VectorIndex:
        """The index with the dimension of the `Optimism` bonus."""
        return Optimism.index(self.space.items, self.counts)

    @cached_property
    def _by_cosine(self) -> VectorIndex:
        index: VectorIndex = Exact(metric="cosine").build(self._state.embeddings.item_directions)
        return index

    @cached_property
    def _by_popularity(self) -> VectorIndex:
        index: VectorIndex = Exact().build(popularity(self._state.interactions))
        return index


def _as_lists(selection: Selection, k: int, *, with_propensities: bool) -> RankedLists:
    """A selection as one padded row."""
    count = len(selection.ids)
    ids, scores = np.full((1, k), -1, np.int32), np.full((1, k), -np.inf, np.float32)
    ids[0, :count], scores[0, :count] = selection.ids, selection.scores
    if not with_propensities:
        return RankedLists(ids, scores)
    propensities = np.full((1, k), np.nan)
    propensities[0, :count] = selection.propensities
    return RankedLists(ids, scores, propensities)


def _merge_rows(mask: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The rows of `first` where the mask is true and those of `second` elsewhere, each in order."""
    merged = np.empty((len(mask), *first.shape[1:]), first.dtype)
    merged[mask], merged[~mask] = first, second
    return merged


def items_of(lists: RankedLists, place: int = 0) -> tuple[list[int], list[float]]:
    """Return the item rows and scores of one list, without padding."""
    count = int((lists.ids[place] >= 0).sum())
    return lists.ids[place][:count].tolist(), lists.scores[place][:count].tolist()
