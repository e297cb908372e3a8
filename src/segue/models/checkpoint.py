"""The state of a training by gradient descent, as arrays: with it, going on is as never having stopped."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segue.errors import DataError

RANDOM = "random"  # the name of the random stream among the arrays
NAMES = ("item_biases", "item_vectors", "order", RANDOM, "user_biases", "user_vectors")
LOW = (1 << 64) - 1


def random_of(rng: np.random.Generator) -> np.ndarray:
    """Return where a PCG64 stream stands: (6,) uint64."""
    state = rng.bit_generator.state
    numbers = state["state"]["state"], state["state"]["inc"]
    halves = [half for number in numbers for half in (number >> 64, number & LOW)]
    return np.array([*halves, state["has_uint32"], state["uinteger"]], np.uint64)


def go_on(rng: np.random.Generator, place: np.ndarray) -> None:
    """Set a PCG64 stream to where another stood."""
    high, low, inc_high, inc_low, has, uinteger = map(int, place)
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": inc_high << 64 | inc_low},
        "has_uint32": has,
        "uinteger": uinteger,
    }


def restore(state: Mapping[str, np.ndarray], rng: np.random.Generator, **parts: np.ndarray) -> None:
    """Put a state into the arrays of a training, in place, and set its random stream.

    Raises `DataError` where the state is of another data set, or of other settings.
    """
    for name in NAMES:
        if name not in state:
            raise DataError(
                f"the state to go on from has no {name!r}; it must come from fit(keep_state=True)"
            )
    for name, array in parts.items():
        if state[name].shape != array.shape:
            raise DataError(
                f"the state to go on from has {name} of the shape {state[name].shape}, but {array.shape} is "
                "wanted: go on with the same settings, interactions and features"
            )
    for name, array in parts.items():
        array[...] = state[name]
    go_on(rng, state[RANDOM])
