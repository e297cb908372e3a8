"""The precision and the pull of a profile's posterior, in one pass over each."""

from __future__ import annotations

from segue.kernels.compile import kernel


@kernel
def take_pick(precision, pulled, vector, left, confidence, sign, out, out_pulled):
    """out = left P + c v v' and out_pulled = left b + sign c v: P (d, d), b (d,) float64, v (d,) float32."""
    d = len(vector)
    for i in range(d):
        scaled = confidence * vector[i]
        out_pulled[i] = left * pulled[i] + sign * scaled
        for j in range(d):
            out[i, j] = left * precision[i, j] + scaled * vector[j]


@kernel
def fill_system(gram, precision, pulled, start, unobserved, penalty, left, out, out_pulled):
    """out = R + left P and out_pulled = left b + R p0, with R = unobserved G + penalty I; all float64."""
    d = len(pulled)
    for i in range(d):
        total = left * pulled[i] + penalty * start[i]
        for j in range(d):
            prior = unobserved * gram[i, j]
            total += prior * start[j]
            out[i, j] = prior + left * precision[i, j]
        out[i, i] += penalty
        out_pulled[i] = total
