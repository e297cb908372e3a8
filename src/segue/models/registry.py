"""The registry of models: one line for each. A model's module is imported when the model is first used."""

from __future__ import annotations

from segue.errors import SettingError
from segue.lazy import LazyRegistry
from segue.models.base import ModelSpec

MODELS: LazyRegistry[ModelSpec] = LazyRegistry(
    "segue.models",
    {
        "als": "als:SPEC",
        "biasedmf": "explicit:SPEC",
        "blend": "blend:SPEC",
        "bpr": "sgd.specs:BPR_SPEC",
        "contrastive": "contrastive:SPEC",
        "ease": "ease:SPEC",
        "ials": "ials:SPEC",
        "item2vec": "item2vec:SPEC",
        "itemknn": "baselines:ITEM_KNN_SPEC",
        "koswarp": "sgd.specs:KOSWARP_SPEC",
        "logistic": "sgd.specs:LOGISTIC_SPEC",
        "popularity": "baselines:POPULARITY_SPEC",
        "svdae": "svdae:SPEC",
        "text": "text:SPEC",
        "warp": "sgd.specs:WARP_SPEC",
    },
)


def served_models() -> list[str]:
    """Return the names of the models that an index can serve."""
    return [name for name, spec in MODELS.items() if spec.served]


def tunable_models() -> list[str]:
    """Return the names of the models that have settings to tune."""
    return [name for name, spec in MODELS.items() if spec.space]


def name_of(settings: object) -> str:
    """Return the name of a model from its settings; raises `SettingError` for other objects."""
    name = MODELS.name_of(lambda spec: spec.settings is type(settings))
    if name is None:
        raise SettingError(f"{settings!r} is not the settings of a model; the models are {', '.join(MODELS)}")
    return name


def spec_of(settings: object) -> ModelSpec:
    """Return the spec of a model from its settings; raises `SettingError` for other objects."""
    return MODELS[name_of(settings)]


def check_tunable(model: str) -> None:
    """Raise `SettingError` if there is no such model, or if it has nothing to tune."""
    if model not in MODELS or not MODELS[model].space:
        names = ", ".join(tunable_models())
        raise SettingError(f"{model!r} is not a model with settings to tune; these are: {names}")
