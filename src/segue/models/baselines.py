"""The rows that every model must beat: popularity and item-based nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from segue.data.interactions import Interactions
from segue.kernels import knn, threads
from segue.models.base import ModelSpec
from segue.models.checks import check_implicit
from segue.models.embeddings import Embeddings
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least

ITEMS = 64  # items between two reports of progress, for each thread


@dataclass(frozen=True)
class Popularity:
    """The same list for everyone: items by their number of users."""

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Return vectors of one dimension: 1 for each user, the number of its users for each item."""
        return Embeddings(np.ones((len(interactions.users), 1), np.float32), popularity(interactions.matrix))

    def resolved(self, interactions: Interactions) -> Popularity:
        """Nothing depends on the data."""
        return self

    def prepare_fold_in(self, embeddings: Embeddings) -> Popularity:
        """Nothing is to be prepared."""
        return self

    def update(self, update: Update) -> Embeddings:
        """Count anew."""
        return self.fit(update.interactions)

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Return the one vector (q, 1) that everybody has."""
        return np.ones((histories.shape[0], 1), np.float32)


def popularity(matrix: CSR) -> np.ndarray:
    """Count the users of each item of a users × items CSR: (n_items, 1) float32."""
    return np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float32)[:, None]


@dataclass(frozen=True)
class ItemKNN:
    """Item-based collaborative filtering: an item's score is its similarity to what the user had, summed.

    Cosine similarity of the items' users, as in Sarwar et al., "Item-based collaborative filtering
    recommendation algorithms" (WWW 2001). The scores are no inner product of short vectors, so it
    serves as the honest neighbour of a model in evaluations and not as an index.

    Attributes:
        neighbors: how many similar items each item keeps.
        shrink: added to the denominator, so that few common users count less.
        threads: how many to use; None is all of the machine.
    """

    neighbors: int = 100
    shrink: float = 0.0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, neighbors=1)
        at_least(self, shrink=0.0)

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> ItemSimilarity:
        """Find each item's neighbours: an items × items CSR."""
        check_implicit(interactions)
        by_user, by_item = interactions.matrix, interactions.matrix.T.tocsr()
        n = by_item.shape[0]
        width = min(self.neighbors, n - 1)
        ids, scores = np.empty((n, width), np.int32), np.empty((n, width), np.float32)
        lengths = np.sqrt(np.diff(by_item.indptr)).astype(np.float32)
        shrink = np.float32(self.shrink)
        step = ITEMS * (self.threads or threads.available())
        for first in range(0, n, step):
            progress("finding similar items", first, n)

            def work(start: int, stop: int, first: int = first) -> None:
                knn.neighbours(
                    by_item.indptr, by_item.indices, by_user.indptr, by_user.indices,
                    lengths, shrink, first + start, first + stop, ids, scores,
                )  # fmt: skip

            threads.run(work, min(step, n - first), chunk=ITEMS // 4, threads=self.threads)
        progress("finding similar items", n, n)
        found = ids.ravel() >= 0
        rows = np.repeat(np.arange(n), width)[found]
        return ItemSimilarity(sp.csr_matrix((scores.ravel()[found], (rows, ids.ravel()[found])), (n, n)))


@dataclass(frozen=True, eq=False)
class ItemSimilarity:
    """Similarities of items: items × items, a CSR or all of them as a float32 array."""

    matrix: CSR

    def scores(self, histories: CSR) -> np.ndarray:
        """Score all items for histories (q × items CSR): (q, n_items) float32."""
        once = sp.csr_matrix(
            (np.ones(histories.nnz, np.float32), histories.indices, histories.indptr), histories.shape
        )
        product = once @ self.matrix
        dense: np.ndarray = product.toarray() if sp.issparse(product) else product
        return dense


ITEM_KNN_SPEC = ModelSpec(ItemKNN, served=False, iterative=False)
POPULARITY_SPEC = ModelSpec(Popularity, signed_weights=True, iterative=False)
