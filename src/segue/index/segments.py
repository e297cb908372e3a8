"""Segments of dimensions of the exact scan: how many dimensions to sum before the first bound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from segue.kernels import scan, simd

FIRST = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16)  # groups of 4 dimensions that the first segment may have
CHECK, GROUP = 10.0, 1.8  # cycles per query and block of 16 items, and per group of dimensions
LATER_CHECK, LATER_GROUP = 60.0, 5.0  # the same for the segments after the first
TYPICAL_K, COMPARED = 10, 100_000  # the assumed k, and the number of items to estimate its score from
SAMPLED_TILES = 64  # tiles that the choice looks at
MAX_GROUPS = 16  # groups of 4 dimensions that the sums of one segment can hold
CODE_ERROR = np.float32(0.01)  # what int8 codes add to a bound, as a share of |q| |x|


def segment_starts(dim: int, first: int) -> np.ndarray:
    """Return where segments start, and where the last one ends, in groups of 4 dimensions.

    Args:
        dim: number of dimensions.
        first: number of groups in the first segment.
    """
    groups = -(-dim // 4)
    first = min(first, groups)
    parts = -(-(groups - first) // MAX_GROUPS)
    starts = first + np.round(np.linspace(0, groups - first, parts + 1)).astype(np.int64)
    return np.concatenate([[0], starts])


def norm_rows(dim: int, starts: np.ndarray) -> int:
    """Return how many rows of codes hold residual norms; none if there is only one segment."""
    return 0 if len(starts) == 2 else _parts(dim) // 4


def code_rows(dim: int, starts: np.ndarray) -> int:
    """Return how many rows of codes a tile has: groups of dimensions, residual norms, segment offsets."""
    return int(starts[-1]) + norm_rows(dim, starts) + len(starts) - 1


def _parts(dim: int) -> int:
    """Return into how many parts the dimensions after the first segment are divided, four per row."""
    return 4 * max(1, dim // 256)


def choose_first_segment(
    vectors: np.ndarray, order: np.ndarray, queries: np.ndarray, is_distance: bool
) -> int:
    """Return how many groups of 4 dimensions the first segment should have.

    A long first segment sums many dimensions for all items, a short one leaves many items for the later
    segments. For a sample of queries and tiles, the function counts the blocks that remain after some
    dimensions, given the score of the k-th best item, and weights them with the cycles of each step.

    Args:
        vectors: (n, dim) float32 in principal axes.
        order: (n,) int32, the order of the items in the tiles.
        queries: (q, dim) float32 in the same axes.
        is_distance: whether the metric is a distance.
    """
    dim = vectors.shape[1]
    groups = -(-dim // 4)
    firsts = np.array([first for first in FIRST if first < groups] + [groups])
    half_sq_norms = np.zeros(len(vectors), np.float32)
    if is_distance:
        half_sq_norms = 0.5 * np.einsum("ij,ij->i", vectors, vectors)
    rows = _sampled_rows(order)
    targets = _kth_scores(vectors, half_sq_norms, queries)
    remaining = _count_remaining(vectors[rows], half_sq_norms[rows], queries, targets, 4 * firsts)
    best, least = MAX_GROUPS, np.inf
    for first in firsts[firsts <= MAX_GROUPS]:
        starts = segment_starts(dim, int(first))
        later = np.interp(starts[1:-1], firsts, remaining[:-1])
        norms = norm_rows(dim, starts)
        widths = np.diff(starts)[1:] + norms
        first_cost = remaining[-1] * (CHECK + GROUP * (first + norms))
        cost = first_cost + (later * (LATER_CHECK + LATER_GROUP * widths)).sum()
        if cost < least:
            best, least = int(first), cost
    return best


def _sampled_rows(order: np.ndarray) -> np.ndarray:
    """Return the items of a sample of tiles; the last item fills an incomplete tile."""
    count = -(-len(order) // scan.TILE)
    tiles = np.unique(np.linspace(0, count - 1, SAMPLED_TILES).astype(np.int64))
    places = (tiles[:, None] * scan.TILE + np.arange(scan.TILE)).reshape(-1)
    rows: np.ndarray = order[np.minimum(places, len(order) - 1)]
    return rows


def _kth_scores(vectors: np.ndarray, half_sq_norms: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return an estimate (q,) of the score of the k-th best item of each query, from a sample of items."""
    step = -(-len(vectors) // COMPARED)
    scores = queries @ vectors[::step].T - half_sq_norms[::step]
    rank = max(1, round(TYPICAL_K / step))
    kth: np.ndarray = np.partition(scores, -rank, axis=1)[:, -rank]
    return kth


def _count_remaining(
    items: np.ndarray, half_sq_norms: np.ndarray, queries: np.ndarray, targets: np.ndarray, cuts: np.ndarray
) -> np.ndarray:
    """Count the blocks of items that a bound after each cut leaves, and last those that the norms leave.

    Args:
        items: (m, dim) float32, whole blocks.
        half_sq_norms: (m,) float32, |x|²/2 for a distance, else 0.
        queries: (q, dim) float32.
        targets: (q,) float32, the scores to reach.
        cuts: numbers of dimensions, ascending.
    """
    query_norms, item_norms = np.linalg.norm(queries, axis=1)[:, None], np.linalg.norm(items, axis=1)
    offsets = half_sq_norms.reshape(-1, simd.LANES).min(1)
    slack = CODE_ERROR * query_norms * item_norms
    thresholds = (targets[:, None] + offsets).repeat(simd.LANES, axis=1) - slack

    def blocks(bounds: np.ndarray) -> np.ndarray:
        is_within: np.ndarray = (bounds >= thresholds).reshape(len(queries), -1, simd.LANES).any(2)
        return is_within

    within_norms = blocks(query_norms * item_norms)
    remaining = np.zeros(len(cuts) + 1, np.int64)
    remaining[-1] = within_norms.sum()
    sums, before = np.zeros(thresholds.shape, np.float32), 0
    for number, cut in enumerate(cuts):
        sums += queries[:, before:cut] @ items[:, before:cut].T
        within = blocks(sums + _residual_bound(queries, items, cut))
        remaining[number], before = (within_norms & within).sum(), cut
    return remaining


def _residual_bound(queries: np.ndarray, items: np.ndarray, cut: int) -> np.ndarray:
    """Return the most (q, m) that dimensions after a cut can add, from the norms of their parts."""
    dim = queries.shape[1]
    parts = _parts(dim)
    edges = [cut + (dim - cut) * part // parts for part in range(parts + 1)]
    query_norms, item_norms = (
        np.stack([np.linalg.norm(side[:, start:stop], axis=1) for start, stop in pairwise(edges)])
        for side in (queries, items)
    )
    return np.asarray(query_norms.T @ item_norms)
