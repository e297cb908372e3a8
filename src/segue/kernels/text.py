"""Means of token vectors."""

import numpy as np

from segue.kernels.compile import kernel


@kernel
def add_up(vectors, tokens, indptr, made, start, stop):
    """Row i becomes the mean of vectors[tokens[indptr[i]:indptr[i + 1]]]; it stays as it is where empty."""
    dim = vectors.shape[1]
    for row in range(start, stop):
        first, last = indptr[row], indptr[row + 1]
        if first == last:
            continue
        share = np.float32(1) / np.float32(last - first)
        for place in range(first, last):
            token = tokens[place]
            for j in range(dim):
                made[row, j] += share * vectors[token, j]
