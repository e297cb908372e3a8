"""Which items a simulated user has: weighted draws without replacement from items in groups."""

from __future__ import annotations

import numpy as np

from segue.kernels.compile import inline, kernel

STEP = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S12, S27, S30, S31 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31)
NEVER = 1e6  # taken off a log weight, it lets an item come only when no other is left


@inline
def uniform(state: np.ndarray) -> float:
    """One number in (0, 1) from a splitmix64 state (1,) uint64, which it moves on."""
    state[0] += STEP
    bits = state[0]
    bits = (bits ^ (bits >> S30)) * MIX_1
    bits = (bits ^ (bits >> S27)) * MIX_2
    bits ^= bits >> S31
    return (np.float64(bits >> S12) + 0.5) * 2.0**-52


@inline
def dot(a: np.ndarray, i: int, b: np.ndarray, j: int) -> np.float32:
    """The inner product of row i of `a` and row j of `b`, float32."""
    total = np.float32(0.0)
    for d in range(a.shape[1]):
        total += a[i, d] * b[j, d]
    return total


@inline
def place(cumulative: np.ndarray, low: int, high: int, target: float) -> int:
    """The first place in [low, high) whose cumulative sum is above the target, or the last."""
    last = high - 1
    while low < last:
        middle = (low + last) // 2
        if cumulative[middle] > target:
            last = middle
        else:
            low = middle + 1
    return low


@kernel
def draw(
    start: int,
    stop: int,
    indptr: np.ndarray,
    seeds: np.ndarray,
    until: np.ndarray,
    users: np.ndarray,
    items: np.ndarray,
    released: np.ndarray,
    weights: np.ndarray,
    groups: np.ndarray,
    centres: np.ndarray,
    members: np.ndarray,
    begins: np.ndarray,
    cumulative: np.ndarray,
    lead: float,
    taken: np.ndarray,
) -> None:
    """Fill `taken[indptr[u]:indptr[u + 1]]` with distinct items for the users [start, stop).

    One after the other, each with the chance w_i exp(u·c_g + min(u·(v_i - c_g), lead)) among those left
    (c_g the centre of the item's group g): a group by its mass, a member by its weight, kept with the
    chance exp(u·(v_i - c_g) - lead). After as many trials as half the items, the rest comes from
    exponential clocks, which continue the same process (Efraimidis & Spirakis 2006). Items released
    after `until[u]` come only when no other is left. No group is empty: g has the members
    `members[begins[g]:begins[g + 1]]`, and `cumulative` sums their weights from the group's first on.
    """
    n, n_groups = items.shape[0], centres.shape[0]
    seen = np.full(n, -1, np.int64)
    state = np.empty(1, np.uint64)
    mass = np.empty(n_groups)
    affinity = np.empty(n_groups)
    keys = np.empty(n)
    for u in range(start, stop):
        state[0] = seeds[u]
        done, end = indptr[u], indptr[u + 1]
        total = 0.0
        for g in range(n_groups):
            affinity[g] = dot(users, u, centres, g)
            total += cumulative[begins[g + 1] - 1] * np.exp(affinity[g])
            mass[g] = total
        trials = n // 2
        while done < end and trials > 0:
            trials -= 1
            g = place(mass, 0, n_groups, uniform(state) * total)
            target = uniform(state) * cumulative[begins[g + 1] - 1]
            i = members[place(cumulative, begins[g], begins[g + 1], target)]
            if seen[i] == u or released[i] > until[u]:
                continue
            ahead = dot(users, u, items, i) - affinity[g] - lead
            if ahead < 0.0 and uniform(state) >= np.exp(ahead):
                continue
            seen[i] = u
            taken[done] = i
            done += 1
        if done < end:
            for i in range(n):
                g = groups[i]
                ahead = min(dot(users, u, items, i) - affinity[g], lead)
                keys[i] = np.log(-np.log(uniform(state))) - np.log(weights[i]) - affinity[g] - ahead
                if released[i] > until[u]:
                    keys[i] += NEVER
                if seen[i] == u:
                    keys[i] = np.inf
            for i in np.argsort(keys)[: end - done]:
                taken[done] = i
                done += 1
