"""One pass of stochastic gradient descent over the interactions of some users, a kernel for each loss.

A side's parameters are P (rows, slots, d) and their biases b (rows, slots): slot 0 is the value, slot 1 the
sum of squared gradients (adagrad) or its moving average (adadelta, which has three slots), slot 2 adadelta's
moving average of squared steps. Without features a row is a user or an item, used in place. With them a row
is a feature, and a user or item is the sum of its features' rows times their weights, made in R.

With s = x_u . y_i + b_u + b_i, p a positive and q a sampled negative of u, the losses are

    logistic            log(1 + exp(-s)) for positives, log(1 + exp(s)) for negatives
    bpr                 log(1 + exp(s_q - s_p))
    warp, koswarp       L(N) max(0, 1 - s_p + s_q)     for the N-th q drawn, the first within the margin

with L(N) = log(max(1, (n - 1) // N)), at most 10, in `ranks`. The interaction's weight scales each of them;
those of weight 0 are known, so never negatives, but not learned from. The pairwise losses do not depend on
b_u, which they move only as far as the user's rate BIAS says, 0 or 1.
Negatives are drawn from `pool`. The interactions of the users order[start:stop] are learned from in random
order; these are so few users that their vectors stay in the cache. Threads share the parameters without
locks (Hogwild).
"""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, kernel, njit_noref
from segue.kernels.simd import prefetch

LINE = 16  # float32 in a cache line
AHEAD = 8  # interactions between the one that is learned from and the one whose vectors are asked for
DRAWN = 8  # negatives that are drawn, and their vectors asked for, ahead of their use; a power of two
RATE, RHO, EPSILON, REG, BIAS = 0, 1, 2, 3, 4  # places in the rates of a side
USER, POSITIVE, NEGATIVE, DIFFERENCE = 0, 1, 2, 3  # rows of R
TINY = 1e-200


@inline
def draw(state, bound):
    """A number in [0, bound) by xorshift64*, whose high half is scaled."""
    x = state[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    state[0] = x
    high = (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)
    return np.int64((high * np.uint64(bound)) >> np.uint64(32))


@inline
def ask(P, row, slots):
    """Ask for the first slots of a row ahead of their use."""
    first = row * P.shape[1] * P.shape[2]
    for j in range(0, slots * P.shape[2], LINE):
        prefetch(P, first + j)


@inline
def fresh(state, drawn, place, pool, P, summed, slots):
    """The negative drawn some time ago; another one is drawn into its place, its vector asked for."""
    q = drawn[place & (DRAWN - 1)]
    other = np.int64(pool[draw(state, len(pool))])
    drawn[place & (DRAWN - 1)] = other
    if not summed:
        ask(P, other, slots)
    return q


@njit_noref
def begin(state, drawn, seed, start, pool, P, summed, slots):
    """Seed by splitmix64, differently for every seed and start, and draw the first negatives."""
    x = np.uint64(seed) + np.uint64(start + 1) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state[0] = (x ^ (x >> np.uint64(31))) | np.uint64(1)
    for place in range(DRAWN):
        drawn[place] = 0
        fresh(state, drawn, place, pool, P, summed, slots)


@inline
def known(indices, lo, hi, item):
    """Is the item in the sorted indices[lo:hi]?"""
    end = hi
    while lo < hi:
        middle = (lo + hi) >> 1
        if indices[middle] < item:
            lo = middle + 1
        else:
            hi = middle
    return lo < end and indices[lo] == item


@njit_noref
def represent(P, b, indptr, features, weights, row, R, Rb, slot):
    """Sum the features of a row into R[slot], Rb[slot]."""
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
    total = np.float32(0)
    for j in range(A.shape[2]):
        total += A[x, 0, j] * B[y, 0, j]
    return total


@inline
def score(A, x, P, b, summed, indptr, features, weights, row):
    """The inner product of A[x] and a row, or the sum of its features, and the row's bias."""
    if not summed:
        return dot(A, x, P, row) + b[row, 0]
    total = np.float32(0)
    for z in range(indptr[row], indptr[row + 1]):
        f = np.int64(features[z])
        total += weights[z] * (dot(A, x, P, f) + b[f, 0])
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
def learn(P, b, summed, indptr, features, weights, row, S, s, c, cb, rates):
    """Move a row, or all its features, against the gradients c S[s] of the vector and cb of the bias.

    A side whose rate is 0 stands still.
    """
    if rates[RATE] == 0:
        return
    if summed:
        for z in range(indptr[row], indptr[row + 1]):
            f, w = features[z], weights[z]
            step(P, f, S, s, w * c, rates)
            step_bias(b, f, w * cb, rates)
    else:
        step(P, row, S, s, c, rates)
        step_bias(b, row, cb, rates)


@inline
def difference(B, y, z, R):
    for j in range(R.shape[2]):
        R[DIFFERENCE, 0, j] = B[z, 0, j] - B[y, 0, j]


@njit_noref
def enqueue(weights, indptr, order, start, stop, state, queue):
    """Write (user, place) of the interactions of the users order[start:stop], shuffled; return how many.

    Those of weight 0 are left out.
    """
    count = 0
    for one in range(start, stop):
        u = order[one]
        for e in range(indptr[u], indptr[u + 1]):
            if weights[e] == 0:
                continue
            other = draw(state, count + 1)
            queue[count, 0], queue[count, 1] = queue[other, 0], queue[other, 1]
            queue[other, 0], queue[other, 1] = u, e
            count += 1
    return count


@inline
def ask_ahead(items, weights, queue, t, count, U, V, u_summed, i_summed):
    """Ask for what interactions some places on will need: first for where it is, later for the vectors."""
    far = queue[min(t + 2 * AHEAD, count - 1), 1]
    prefetch(items, far)
    prefetch(weights, far)
    near = min(t + AHEAD, count - 1)
    if not u_summed:
        ask(U, np.int64(queue[near, 0]), 2)
    if not i_summed:
        ask(V, np.int64(items[queue[near, 1]]), 2)


@njit_noref
def kth_best(items, lo, hi, A, x, V, bV, i_summed, i_indptr, i_features, i_weights, k, best, state):
    """Draw some of the places [lo, hi) of a user's items; return the one of the k-th highest score."""
    count = min(len(best), hi - lo)
    for drawn in range(count):
        e = lo + draw(state, hi - lo)
        y = np.int64(items[e])
        found = np.float64(score(A, x, V, bV, i_summed, i_indptr, i_features, i_weights, y))
        z = drawn
        while z > 0 and best[z - 1, 0] < found:
            best[z, 0], best[z, 1] = best[z - 1, 0], best[z - 1, 1]
            z -= 1
        best[z, 0], best[z, 1] = found, e
    return np.int64(best[min(k, count) - 1, 1])


@kernel
def logistic(
    items, weights, indptr, order, queue,
    U, bU, u_summed, u_indptr, u_features, u_weights,
    V, bV, i_summed, i_indptr, i_features, i_weights,
    u_rates, i_rates, pool, negatives, ranks, k,
    R, Rb, state, drawn, best, seed, start, stop, tally,
):  # fmt: skip
    """Logistic loss: interactions of positive and negative weight, and `negatives` more that are drawn."""
    A = R if u_summed else U
    B = R if i_summed else V
    Ab = Rb if u_summed else bU
    Bb = Rb if i_summed else bV
    begin(state, drawn, seed, start, pool, V, i_summed, 2)
    one = np.float32(1)
    place, violations, steps, loss = 0, 0, 0, 0.0
    count = enqueue(weights, indptr, order, start, stop, state, queue)
    for t in range(count):
        ask_ahead(items, weights, queue, t, count, U, V, u_summed, i_summed)
        u, e = np.int64(queue[t, 0]), np.int64(queue[t, 1])
        for pair in range(negatives + 1):
            i, w = np.int64(items[e]), weights[e]
            if pair:
                i, w = fresh(state, drawn, place, pool, V, i_summed, 2), -abs(w)
                place += 1
                if known(items, indptr[u], indptr[u + 1], i):
                    continue
            x, y = u, i
            if u_summed:
                x = np.int64(USER)
                represent(U, bU, u_indptr, u_features, u_weights, u, R, Rb, x)
            if i_summed:
                y = np.int64(POSITIVE)
                represent(V, bV, i_indptr, i_features, i_weights, i, R, Rb, y)
            against = dot(A, x, B, y) + Ab[x, 0] + Bb[y, 0]
            if w > 0:
                against = -against
            loss += max(against, np.float32(0)) + np.log1p(np.exp(-abs(against)))
            violations += against > 0
            steps += 1
            c = -w / (one + np.exp(-against))
            for j in range(R.shape[2]):
                R[DIFFERENCE, 0, j] = B[y, 0, j]
            learn(V, bV, i_summed, i_indptr, i_features, i_weights, i, A, x, c, c, i_rates)
            learn(U, bU, u_summed, u_indptr, u_features, u_weights, u, R, DIFFERENCE, c, c, u_rates)
    tally[0], tally[1], tally[2] = loss, violations, steps


@kernel
def bpr(
    items, weights, indptr, order, queue,
    U, bU, u_summed, u_indptr, u_features, u_weights,
    V, bV, i_summed, i_indptr, i_features, i_weights,
    u_rates, i_rates, pool, negatives, ranks, k,
    R, Rb, state, drawn, best, seed, start, stop, tally,
):  # fmt: skip
    """Bayesian personalised ranking: against the first item drawn that the user has not had."""
    A = R if u_summed else U
    B = R if i_summed else V
    Bb = Rb if i_summed else bV
    begin(state, drawn, seed, start, pool, V, i_summed, 2)
    place, violations, steps = 0, 0, 0
    loss, product = 0.0, 1.0
    count = enqueue(weights, indptr, order, start, stop, state, queue)
    for t in range(count):
        ask_ahead(items, weights, queue, t, count, U, V, u_summed, i_summed)
        u, e = np.int64(queue[t, 0]), np.int64(queue[t, 1])
        p, q = np.int64(items[e]), np.int64(-1)
        for _ in range(negatives):
            other = fresh(state, drawn, place, pool, V, i_summed, 2)
            place += 1
            if not known(items, indptr[u], indptr[u + 1], other):
                q = other
                break
        if q < 0:
            continue
        x, y, z = u, p, q
        if u_summed:
            x = np.int64(USER)
            represent(U, bU, u_indptr, u_features, u_weights, u, R, Rb, x)
        if i_summed:
            y, z = np.int64(POSITIVE), np.int64(NEGATIVE)
            represent(V, bV, i_indptr, i_features, i_weights, p, R, Rb, y)
            represent(V, bV, i_indptr, i_features, i_weights, q, R, Rb, z)
        difference(B, y, z, R)
        behind = dot(A, x, R, DIFFERENCE) + Bb[z, 0] - Bb[y, 0]
        c = np.float32(1) / (np.float32(1) + np.exp(-behind))
        product *= np.float64(1) - c  # logarithms are dear: one for many factors
        if product < TINY:
            loss += behind if product == 0 else -np.log(product)
            product = 1.0
        violations += behind > 0
        steps += 1
        c *= weights[e]
        learn(V, bV, i_summed, i_indptr, i_features, i_weights, p, A, x, -c, -c, i_rates)
        learn(V, bV, i_summed, i_indptr, i_features, i_weights, q, A, x, c, c, i_rates)
        learn(
            U, bU, u_summed, u_indptr, u_features, u_weights, u, R, DIFFERENCE, c, c * u_rates[BIAS], u_rates
        )
    tally[0], tally[1], tally[2] = loss - np.log(product), violations, steps


@kernel
def warp(
    items, weights, indptr, order, queue,
    U, bU, u_summed, u_indptr, u_features, u_weights,
    V, bV, i_summed, i_indptr, i_features, i_weights,
    u_rates, i_rates, pool, negatives, ranks, k,
    R, Rb, state, drawn, best, seed, start, stop, tally,
):  # fmt: skip
    """Weighted approximate-rank pairwise loss; k-OS where k is not 0.

    k-OS draws as many of the user's items as `best` has rows, and learns from the k-th best of them.
    """
    A = R if u_summed else U
    B = R if i_summed else V
    begin(state, drawn, seed, start, pool, V, i_summed, 1)
    place, violations, steps, loss = 0, 0, 0, 0.0
    count = enqueue(weights, indptr, order, start, stop, state, queue)
    for t in range(count):
        ask_ahead(items, weights, queue, t, count, U, V, u_summed, i_summed)
        u, e = np.int64(queue[t, 0]), np.int64(queue[t, 1])
        x = u
        if u_summed:
            x = np.int64(USER)
            represent(U, bU, u_indptr, u_features, u_weights, u, R, Rb, x)
        if k:
            e = kth_best(
                items, indptr[u], indptr[u + 1], A, x, V, bV, i_summed, i_indptr, i_features, i_weights,
                k, best, state,
            )  # fmt: skip
        p = np.int64(items[e])
        enough = score(A, x, V, bV, i_summed, i_indptr, i_features, i_weights, p) - np.float32(1)
        steps += 1
        for tries in range(1, negatives + 1):
            q = fresh(state, drawn, place, pool, V, i_summed, 1)
            place += 1
            over = score(A, x, V, bV, i_summed, i_indptr, i_features, i_weights, q) - enough
            if over <= 0 or known(items, indptr[u], indptr[u + 1], q):
                continue
            c = weights[e] * ranks[tries]
            loss += ranks[tries] * over
            violations += 1
            y, z = p, q
            if i_summed:
                y, z = np.int64(POSITIVE), np.int64(NEGATIVE)
                represent(V, bV, i_indptr, i_features, i_weights, p, R, Rb, y)
                represent(V, bV, i_indptr, i_features, i_weights, q, R, Rb, z)
            difference(B, y, z, R)
            learn(V, bV, i_summed, i_indptr, i_features, i_weights, p, A, x, -c, -c, i_rates)
            learn(V, bV, i_summed, i_indptr, i_features, i_weights, q, A, x, c, c, i_rates)
            learn(
                U, bU, u_summed, u_indptr, u_features, u_weights, u, R, DIFFERENCE, c, c * u_rates[BIAS],
                u_rates,
            )  # fmt: skip
            break
    tally[0], tally[1], tally[2] = loss, violations, steps
