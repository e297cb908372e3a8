"""One pass of stochastic gradient descent over the interactions of some users, a kernel for each loss.

A side's parameters are P (rows, slots, d) and their biases b (rows, slots): slot 0 is the value, slot 1 the
sum of squared gradients (adagrad) or its moving average (adadelta, which has three slots), slot 2 adadelta's
moving average of squared steps. Without features a row is a user or an item, used in place. With features a
row is a feature, and a user or item is the sum of its features' rows times their weights, computed in R.

With s = x_u . y_i + b_u + b_i, p a positive and q a sampled negative of u, the losses are

    logistic            log(1 + exp(-s)) for positives, log(1 + exp(s)) for negatives
    bpr                 log(1 + exp(s_q - s_p))
    warp, koswarp       L(N) max(0, 1 - s_p + s_q)     for the N-th q drawn, the first within the margin

with L(N) = log(max(1, (n - 1) // N)), at most 10, in `ranks`. The interaction's weight scales each of them.
Interactions of weight 0 are never drawn as negatives and not learned from. The pairwise losses do not depend
on b_u; their steps move it only by the rate BIAS of the users, 0 or 1.
Negatives are drawn from `pool`. The interactions of the users order[start:stop] are learned from in random
order; these users are few enough that their vectors stay in the cache. Threads share the parameters without
locks (Hogwild).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from segue.kernels.compile import inline, kernel, njit_noref
from segue.kernels.simd import prefetch

LINE = 16  # float32 in a cache line
AHEAD = 8  # interactions between the current one and the one whose vectors are prefetched
DRAWN = 8  # negatives that are drawn and prefetched ahead of their use; a power of two
RATE, RHO, EPSILON, REG, BIAS = 0, 1, 2, 3, 4  # indices into the rates of a side
USER, POSITIVE, NEGATIVE, DIFFERENCE = 0, 1, 2, 3  # rows of R
TINY = 1e-200


class Pairs(NamedTuple):
    """Interactions as users × items CSR, and the users in the order of the pass.

    Attributes:
        items: (nnz,) int32 column indices, sorted within each user.
        weights: (nnz,) float32.
        indptr: (users + 1,) int64.
        order: (m,) int64 user rows.
    """

    items: np.ndarray
    weights: np.ndarray
    indptr: np.ndarray
    order: np.ndarray


class Side(NamedTuple):
    """The parameters of users or of items, or of their features; see the module's docstring.

    Attributes:
        vectors: (rows, slots, d) float32.
        biases: (rows, slots) float32.
        summed: whether rows are features; the features are in the next three, a CSR.
        indptr: (n + 1,) int64.
        features: (nnz,) int32 column indices.
        weights: (nnz,) float32.
    """

    vectors: np.ndarray
    biases: np.ndarray
    summed: bool
    indptr: np.ndarray
    features: np.ndarray
    weights: np.ndarray

    def rows(self) -> int:
        """Return the number of users or items."""
        return len(self.indptr) - 1 if self.summed else len(self.vectors)

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Return copies of the vectors (rows, d) and biases (rows,)."""
        return self.vectors[:, 0].copy(), self.biases[:, 0].copy()


class Draws(NamedTuple):
    """How negatives are drawn.

    Attributes:
        pool: (m,) int32 items to draw from.
        negatives: maximum number of draws for each interaction.
        ranks: (negatives + 1,) float32, L(N) of WARP.
        k: k of k-OS WARP, 0 for the other losses.
    """

    pool: np.ndarray
    negatives: int
    ranks: np.ndarray
    k: int


class Buffers(NamedTuple):
    """Scratch space of one thread.

    Attributes:
        queue: (interactions, 2) integers, (user, place) of the interactions of the pass.
        vectors: (4, 1, d) float32, R.
        biases: (4, 1) float32.
        state: (1,) uint64 of the random generator.
        drawn: (DRAWN,) int64, the next negatives.
        best: (n, 2) float64, scores and places of the items that k-OS WARP draws.
    """

    queue: np.ndarray
    vectors: np.ndarray
    biases: np.ndarray
    state: np.ndarray
    drawn: np.ndarray
    best: np.ndarray


@inline
def draw(state, bound):
    """Return a random number in [0, bound): the scaled high half of xorshift64*."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    high = (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)
    return np.int64((high * np.uint64(bound)) >> np.uint64(32))


@inline
def prefetch_row(P, row, slots):
    """Prefetch the first slots of a row."""
    first = row * P.shape[1] * P.shape[2]
    for j in range(0, slots * P.shape[2], LINE):
        prefetch(P, first + j)


@inline
def next_negative(state, drawn, place, pool, P, summed, slots):
    """Return a negative drawn earlier; draw its replacement and prefetch the vector of that."""
    q = drawn[place & (DRAWN - 1)]
    other = np.int64(pool[draw(state, len(pool))])
    drawn[place & (DRAWN - 1)] = other
    if not summed:
        prefetch_row(P, other, slots)
    return q


@njit_noref
def start_draws(state, drawn, seed, start, pool, P, summed, slots):
    """Seed the generator by splitmix64, differently for each seed and start; draw the first negatives."""
    x = np.uint64(seed) + np.uint64(start + 1) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state[0] = (x ^ (x >> np.uint64(31))) | np.uint64(1)
    for place in range(DRAWN):
        drawn[place] = 0
        next_negative(state, drawn, place, pool, P, summed, slots)


@inline
def known(indices, lo, hi, item):
    """Return whether the item is in the sorted indices[lo:hi]."""
    end = hi
    while lo < hi:
        middle = (lo + hi) >> 1
        if indices[middle] < item:
            lo = middle + 1
        else:
            hi = middle
    return lo < end and indices[lo] == item


@njit_noref
def represent(side, row, R, Rb, slot):
    """Write the sum of the features of a row to R[slot] and Rb[slot]."""
    P, b, features, weights, indptr = side.vectors, side.biases, side.features, side.weights, side.indptr
    for j in range(P.shape[2]):
        R[slot, 0, j] = 0
    Rb[slot, 0] = 0
    for z in range(indptr[row], indptr[row + 1]):
        f, w = features[z], weights[z]
        for j in range(P.shape[2]):
            R[slot, 0, j] += w * P[f, 0, j]
        Rb[slot, 0] += w * b[f, 0]


@inline
def dot(A, x, B, y):
    """Return the inner product of A[x] and B[y]."""
    total = np.float32(0)
    for j in range(A.shape[2]):
        total += A[x, 0, j] * B[y, 0, j]
    return total


@inline
def score(A, x, side, row):
    """Return the inner product of A[x] and the vector of a user or item, plus its bias."""
    P, b = side.vectors, side.biases
    if not side.summed:
        return dot(A, x, P, row) + b[row, 0]
    total = np.float32(0)
    for z in range(side.indptr[row], side.indptr[row + 1]):
        f = np.int64(side.features[z])
        total += side.weights[z] * (dot(A, x, P, f) + b[f, 0])
    return total


@inline
def step(P, row, S, s, c, rates):
    """Move the vector of a row against the gradient c S[s] + reg P[row]."""
    rate, rho, epsilon, reg = rates[RATE], rates[RHO], rates[EPSILON], rates[REG]
    if P.shape[1] == 2:
        for j in range(P.shape[2]):
            g = c * S[s, 0, j] + reg * P[row, 0, j]
            G = P[row, 1, j]
            P[row, 0, j] -= rate * g / np.sqrt(G)
            P[row, 1, j] = G + g * g
    else:
        rest = np.float32(1) - rho
        for j in range(P.shape[2]):
            g = c * S[s, 0, j] + reg * P[row, 0, j]
            G = rho * P[row, 1, j] + rest * g * g
            move = np.sqrt((P[row, 2, j] + epsilon) / (G + epsilon)) * g
            P[row, 0, j] -= rate * move
            P[row, 1, j] = G
            P[row, 2, j] = rho * P[row, 2, j] + rest * move * move


@inline
def step_bias(b, row, c, rates):
    """Move the bias of a row against the gradient c + reg b[row]."""
    rate, rho, epsilon = rates[RATE], rates[RHO], rates[EPSILON]
    g = c + rates[REG] * b[row, 0]
    if b.shape[1] == 2:
        b[row, 0] -= rate * g / np.sqrt(b[row, 1])
        b[row, 1] += g * g
    else:
        rest = np.float32(1) - rho
        b[row, 1] = rho * b[row, 1] + rest * g * g
        move = np.sqrt((b[row, 2] + epsilon) / (b[row, 1] + epsilon)) * g
        b[row, 0] -= rate * move
        b[row, 2] = rho * b[row, 2] + rest * move * move


@inline
def learn(side, row, S, s, c, cb, rates):
    """Move a user or item, or all its features, against the gradients c S[s] of vector and cb of bias.

    A side with rate 0 is unchanged.
    """
    if rates[RATE] == 0:
        return
    if side.summed:
        for z in range(side.indptr[row], side.indptr[row + 1]):
            f, w = side.features[z], side.weights[z]
            step(side.vectors, f, S, s, w * c, rates)
            step_bias(side.biases, f, w * cb, rates)
    else:
        step(side.vectors, row, S, s, c, rates)
        step_bias(side.biases, row, cb, rates)


@inline
def difference(B, y, z, R):
    """Write B[z] - B[y] to R[DIFFERENCE]."""
    for j in range(R.shape[2]):
        R[DIFFERENCE, 0, j] = B[z, 0, j] - B[y, 0, j]


@njit_noref
def enqueue(weights, indptr, order, start, stop, state, queue):
    """Write (user, place) of the interactions of the users order[start:stop], shuffled; return their number.

    Interactions of weight 0 are skipped.
    """
    count = 0
    for t in range(start, stop):
        u = order[t]
        for e in range(indptr[u], indptr[u + 1]):
            if weights[e] == 0:
                continue
            other = draw(state, count + 1)
            queue[count, 0], queue[count, 1] = queue[other, 0], queue[other, 1]
            queue[other, 0], queue[other, 1] = u, e
            count += 1
    return count


@inline
def prefetch_ahead(pairs, queue, t, count, users, items):
    """Prefetch what later interactions need: the item and weight first, the vectors AHEAD places later."""
    far = queue[min(t + 2 * AHEAD, count - 1), 1]
    prefetch(pairs.items, far)
    prefetch(pairs.weights, far)
    near = min(t + AHEAD, count - 1)
    if not users.summed:
        prefetch_row(users.vectors, np.int64(queue[near, 0]), 2)
    if not items.summed:
        prefetch_row(items.vectors, np.int64(pairs.items[queue[near, 1]]), 2)


@njit_noref
def kth_best(items, lo, hi, A, x, side, k, best, state):
    """Draw len(best) of the places [lo, hi) of a user's items; return the one with the k-th highest score."""
    count = min(len(best), hi - lo)
    for drawn in range(count):
        e = lo + draw(state, hi - lo)
        y = np.int64(items[e])
        s = np.float64(score(A, x, side, y))
        z = drawn
        while z > 0 and best[z - 1, 0] < s:
            best[z, 0], best[z, 1] = best[z - 1, 0], best[z - 1, 1]
            z -= 1
        best[z, 0], best[z, 1] = s, e
    return np.int64(best[min(k, count) - 1, 1])


@kernel
def logistic(pairs, users, items, u_rates, i_rates, draws, buffers, seed, start, stop, tally):
    """Logistic loss of the interactions and, for each, of `negatives` drawn items as dislikes."""
    indices, weights, indptr, order = pairs
    pool, negatives = draws.pool, draws.negatives
    queue, R, Rb, state, drawn, _ = buffers
    U, V, u_summed, i_summed = users.vectors, items.vectors, users.summed, items.summed
    A = R if u_summed else U
    B = R if i_summed else V
    Ab = Rb if u_summed else users.biases
    Bb = Rb if i_summed else items.biases
    start_draws(state, drawn, seed, start, pool, V, i_summed, 2)
    one = np.float32(1)
    place, violations, steps, loss = 0, 0, 0, 0.0
    count = enqueue(weights, indptr, order, start, stop, state, queue)
    for t in range(count):
        prefetch_ahead(pairs, queue, t, count, users, items)
        u, e = np.int64(queue[t, 0]), np.int64(queue[t, 1])
        for pair in range(negatives + 1):
            i, w = np.int64(indices[e]), weights[e]
            if pair:
                i, w = next_negative(state, drawn, place, pool, V, i_summed, 2), -abs(w)
                place += 1
                if known(indices, indptr[u], indptr[u + 1], i):
                    continue
            x, y = u, i
            if u_summed:
                x = np.int64(USER)
                represent(users, u, R, Rb, x)
            if i_summed:
                y = np.int64(POSITIVE)
                represent(items, i, R, Rb, y)
            against = dot(A, x, B, y) + Ab[x, 0] + Bb[y, 0]
            if w > 0:
                against = -against
            loss += max(against, np.float32(0)) + np.log1p(np.exp(-abs(against)))
            violations += against > 0
            steps += 1
            c = -w / (one + np.exp(-against))
            for j in range(R.shape[2]):
                R[DIFFERENCE, 0, j] = B[y, 0, j]
            learn(items, i, A, x, c, c, i_rates)
            learn(users, u, R, DIFFERENCE, c, c, u_rates)
    tally[0], tally[1], tally[2] = loss, violations, steps


@kernel
def bpr(pairs, users, items, u_rates, i_rates, draws, buffers, seed, start, stop, tally):
    """Bayesian personalized ranking: a positive against the first drawn item outside the user's history."""
    indices, weights, indptr, order = pairs
    pool, negatives = draws.pool, draws.negatives
    queue, R, Rb, state, drawn, _ = buffers
    U, V, u_summed, i_summed = users.vectors, items.vectors, users.summed, items.summed
    A = R if u_summed else U
    B = R if i_summed else V
    Bb = Rb if i_summed else items.biases
    start_draws(state, drawn, seed, start, pool, V, i_summed, 2)
    place, violations, steps = 0, 0, 0
    loss, product = 0.0, 1.0
    count = enqueue(weights, indptr, order, start, stop, state, queue)
    for t in range(count):
        prefetch_ahead(pairs, queue, t, count, users, items)
        u, e = np.int64(queue[t, 0]), np.int64(queue[t, 1])
        p, q = np.int64(indices[e]), np.int64(-1)
        for _ in range(negatives):
            other = next_negative(state, drawn, place, pool, V, i_summed, 2)
            place += 1
            if not known(indices, indptr[u], indptr[u + 1], other):
                q = other
                break
        if q < 0:
            continue
        x, y, z = u, p, q
        if u_summed:
            x = np.int64(USER)
            represent(users, u, R, Rb, x)
        if i_summed:
            y, z = np.int64(POSITIVE), np.int64(NEGATIVE)
            represent(items, p, R, Rb, y)
            represent(items, q, R, Rb, z)
        difference(B, y, z, R)
        behind = dot(A, x, R, DIFFERENCE) + Bb[z, 0] - Bb[y, 0]
        c = np.float32(1) / (np.float32(1) + np.exp(-behind))
        product *= np.float64(1) - c  # one logarithm for many factors, since logarithms are slow
        if product < TINY:
            loss += behind if product == 0 else -np.log(product)
            product = 1.0
        violations += behind > 0
        steps += 1
        c *= weights[e]
        learn(items, p, A, x, -c, -c, i_rates)
        learn(items, q, A, x, c, c, i_rates)
        learn(users, u, R, DIFFERENCE, c, c * u_rates[BIAS], u_rates)
    tally[0], tally[1], tally[2] = loss - np.log(product), violations, steps


@kernel
def warp(pairs, users, items, u_rates, i_rates, draws, buffers, seed, start, stop, tally):
    """Weighted approximate-rank pairwise loss; k-OS if k is not 0.

    k-OS draws len(best) of the user's items and learns from the k-th best of them.
    """
    indices, weights, indptr, order = pairs
    pool, negatives, ranks, k = draws
    queue, R, Rb, state, drawn, best = buffers
    U, V, u_summed, i_summed = users.vectors, items.vectors, users.summed, items.summed
    A = R if u_summed else U
    B = R if i_summed else V
    start_draws(state, drawn, seed, start, pool, V, i_summed, 1)
    place, violations, steps, loss = 0, 0, 0, 0.0
    count = enqueue(weights, indptr, order, start, stop, state, queue)
    for t in range(count):
        prefetch_ahead(pairs, queue, t, count, users, items)
        u, e = np.int64(queue[t, 0]), np.int64(queue[t, 1])
        x = u
        if u_summed:
            x = np.int64(USER)
            represent(users, u, R, Rb, x)
        if k:
            e = kth_best(indices, indptr[u], indptr[u + 1], A, x, items, k, best, state)
        p = np.int64(indices[e])
        enough = score(A, x, items, p) - np.float32(1)
        steps += 1
        for tries in range(1, negatives + 1):
            q = next_negative(state, drawn, place, pool, V, i_summed, 1)
            place += 1
            over = score(A, x, items, q) - enough
            if over <= 0 or known(indices, indptr[u], indptr[u + 1], q):
                continue
            c = weights[e] * ranks[tries]
            loss += ranks[tries] * over
            violations += 1
            y, z = p, q
            if i_summed:
                y, z = np.int64(POSITIVE), np.int64(NEGATIVE)
                represent(items, p, R, Rb, y)
                represent(items, q, R, Rb, z)
            difference(B, y, z, R)
            learn(items, p, A, x, -c, -c, i_rates)
            learn(items, q, A, x, c, c, i_rates)
            learn(users, u, R, DIFFERENCE, c, c * u_rates[BIAS], u_rates)
            break
    tally[0], tally[1], tally[2] = loss, violations, steps
