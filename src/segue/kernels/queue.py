"""A priority queue in two arrays: the highest priority first, and of equal ones the highest number."""

from __future__ import annotations

from segue.kernels.compile import njit_noref


@njit_noref
def push(priorities, numbers, size, priority, number):
    """Add to a queue of `size` entries; return its new size."""
    place = size
    while place > 0:
        above = (place - 1) >> 1
        if priorities[above] > priority or (priorities[above] == priority and numbers[above] >= number):
            break
        priorities[place], numbers[place] = priorities[above], numbers[above]
        place = above
    priorities[place], numbers[place] = priority, number
    return size + 1


@njit_noref
def drop(priorities, numbers, size):
    """Remove the first entry, which stands at 0, of a queue of `size` entries; return its new size."""
    size -= 1
    priority, number = priorities[size], numbers[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and (
            priorities[child + 1] > priorities[child]
            or (priorities[child + 1] == priorities[child] and numbers[child + 1] > numbers[child])
        ):
            child += 1
        if priority > priorities[child] or (priority == priorities[child] and number >= numbers[child]):
            break
        priorities[place], numbers[place] = priorities[child], numbers[child]
        place = child
    if size:
        priorities[place], numbers[place] = priority, number
    return size
