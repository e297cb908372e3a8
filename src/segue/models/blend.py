"""iALS and SVD-AE side by side: an inner product of vectors put together is the sum of two models' scores."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from segue.data.interactions import Interactions
from segue.errors import SettingError
from segue.models.base import ModelSpec
from segue.models.checks import check_implicit
from segue.models.embeddings import Embeddings
from segue.models.ials import IALS, IALSFoldIn
from segue.models.search_space import Range
from segue.models.svdae import SVDAE, ProjectionFoldIn
from segue.models.updates import Update
from segue.progress import Progress, silent
from segue.types import CSR
from segue.validation import at_least


@dataclass(frozen=True)
class Blend:
    """The sum of what `IALS` and `SVDAE` say, each in units of its own spread.

    The two err on different items, so that the sum ranks better than either; it is served by vectors as long
    as both together.

    Attributes:
        dim: length of iALS's vectors.
        svd_dim: length of SVD-AE's.
        share: the weight of SVD-AE's scores, from 0 to 1.
        iterations, unobserved_weight, reg: iALS's.
        seed: of both random starts.
        threads: how many to use; None is all of the machine. The result is the same for any number.
    """

    dim: int = 256
    svd_dim: int = 1024
    share: float = 0.2
    iterations: int = 8
    unobserved_weight: float | None = None
    reg: float = 0.003
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        at_least(self, svd_dim=1, share=0.0)
        if self.share >= 1:
            raise SettingError(f"Blend(share={self.share}) must be below 1; SVDAE is the other model alone")
        self._ials()

    def resolved(self, interactions: Interactions) -> Blend:
        """Return the same settings with iALS's weight of what is not there filled in."""
        return replace(self, unobserved_weight=self._ials().resolved(interactions).unobserved_weight)

    def fit(self, interactions: Interactions, *, progress: Progress = silent) -> Embeddings:
        """Learn vectors (n, dim + svd_dim + 1) float32, iALS's first, as the two models make them.

        The users' coordinates of SVD-AE are scaled to the share that it has.
        """
        check_implicit(interactions)
        first = self._ials().fit(interactions, progress=progress)
        second = SVDAE(self.svd_dim, seed=self.seed, threads=self.threads).fit(interactions)
        scale = self.share / (1 - self.share) * spread(first) / spread(second)
        return Embeddings(
            np.hstack([first.users, second.users * np.float32(scale)]),
            np.hstack([first.items, second.items]),
        )

    def prepare_fold_in(self, embeddings: Embeddings) -> BlendFoldIn:
        """Prepare both item sides once; the settings must be `resolved`."""
        first, second = self._parts(embeddings)
        return BlendFoldIn(self._ials().prepare_fold_in(first), SVDAE().prepare_fold_in(second))

    def update(self, update: Update) -> Embeddings:
        """Let each model take in what is new."""
        first, second = self._parts(update.embeddings)
        first = self._ials().update(replace(update, embeddings=first))
        second = SVDAE(self.svd_dim).update(replace(update, embeddings=second))
        return Embeddings(np.hstack([first.users, second.users]), np.hstack([first.items, second.items]))

    def _parts(self, embeddings: Embeddings) -> tuple[Embeddings, Embeddings]:
        """What each of the two models has learned."""
        users, items = embeddings.users, embeddings.items
        first, second = (
            Embeddings(np.ascontiguousarray(users[:, part]), np.ascontiguousarray(items[:, part]))
            for part in (slice(self.dim), slice(self.dim, None))
        )
        return first, second

    def _ials(self) -> IALS:
        return IALS(
            self.dim, self.iterations, self.unobserved_weight, self.reg, seed=self.seed, threads=self.threads
        )


@dataclass(frozen=True, eq=False)
class BlendFoldIn:
    """How both models find the vector that a history leads to."""

    first: IALSFoldIn
    second: ProjectionFoldIn

    def fold_in(self, histories: CSR) -> np.ndarray:
        """Vectors (q, dim + svd_dim + 1) float32 of histories (q × items CSR), zeros where empty."""
        return np.hstack([part.fold_in(histories) for part in (self.first, self.second)])


def spread(embeddings: Embeddings) -> float:
    """The root of the mean square of all scores, up to the number of pairs."""
    users, items = (vectors.T @ vectors for vectors in (embeddings.users, embeddings.items))
    return float(np.sqrt(np.vdot(users, items)))


SPEC = ModelSpec(
    Blend,
    {
        "dim": (64, 128, 256, 512),
        "svd_dim": (128, 256, 512, 1024),
        "share": Range(0.0, 0.8),
        "iterations": Range(4, 32, log=True),
        "unobserved_weight": Range(0.05, 5.0, log=True, relative=True),
        "reg": Range(1e-4, 1.0, log=True),
    },
)
