"""A LightFM model in a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segue import store
from segue.compat.lightfm.parameters import SIDES, SLOTS
from segue.errors import CorruptModelError, NotAModelError, SettingError


class StoredModel(NamedTuple):
    """The content of a folder.

    Attributes:
        settings: LightFM's parameters by name, without the random state.
        arrays: the arrays of both sides by the name of the attribute.
        random_state: the random generator.
    """

    settings: dict[str, Any]  # of JSON; set_params checks the names
    arrays: dict[str, np.ndarray]
    random_state: np.random.RandomState


def write(
    folder: str | Path,
    settings: Mapping[str, object],
    arrays: Mapping[str, np.ndarray],
    random_state: np.random.RandomState,
) -> None:
    """Write a model. Raises `SettingError` unless the random generator is a Mersenne Twister."""
    state: Any = random_state.get_state(legacy=False)  # a dict; NumPy's type allows a tuple
    if state["bit_generator"] != "MT19937":
        raise SettingError(
            f"a random_state of the kind {state['bit_generator']} cannot be saved; only MT19937 can"
        )
    plain = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in settings.items()
    }
    position = [state["state"]["pos"], state["has_gauss"], state["gauss"]]
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    contiguous["random_state"] = np.asarray(state["state"]["key"], np.uint32)
    meta = {"kind": "lightfm", "parameters": plain, "random_state": position}
    store.write(folder, contiguous, {}, meta)


def read(folder: str | Path) -> StoredModel:
    """Read a model. Raises the errors of `segue.errors.ModelFolderError`."""
    stored = store.open_model(folder)
    if stored.meta.get("kind") != "lightfm":
        raise NotAModelError(f"{folder} holds a model of another type; open it with segue.load")
    try:
        random_state = np.random.RandomState()
        key = stored.arrays["random_state"]
        random_state.set_state(("MT19937", key, *stored.meta["random_state"]))
        arrays = {
            f"{side}_{slot}": np.array(stored.arrays[f"{side}_{slot}"]) for side in SIDES for slot in SLOTS
        }
        return StoredModel(dict(stored.meta["parameters"]), arrays, random_state)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptModelError(f"{folder} is not a valid LightFM model: {error}") from error
