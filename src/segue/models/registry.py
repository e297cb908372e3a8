"""The registry of models: one line for each."""

from __future__ import annotations

from segue.errors import SettingError
from segue.models import (
    als,
    baselines,
    blend,
    contrastive,
    ease,
    explicit,
    ials,
    item2vec,
    svdae,
    text,
)
from segue.models.base import ModelSpec
from segue.models.sgd import specs as sgd

MODELS: dict[str, ModelSpec] = {
    "als": als.SPEC,
    "biasedmf": explicit.SPEC,
    "blend": blend.SPEC,
    "bpr": sgd.BPR_SPEC,
    "contrastive": contrastive.SPEC,
    "ease": ease.SPEC,
    "ials": ials.SPEC,
    "item2vec": item2vec.SPEC,
    "itemknn": baselines.ITEM_KNN_SPEC,
    "koswarp": sgd.KOSWARP_SPEC,
    "logistic": sgd.LOGISTIC_SPEC,
    "popularity": baselines.POPULARITY_SPEC,
    "svdae": svdae.SPEC,
    "text": text.SPEC,
    "warp": sgd.WARP_SPEC,
}
SERVED: dict[str, ModelSpec] = {name: spec for name, spec in MODELS.items() if spec.served}
TUNABLE: dict[str, ModelSpec] = {name: spec for name, spec in MODELS.items() if spec.space}
_SPEC_OF_CLASS: dict[type, ModelSpec] = {spec.settings: spec for spec in MODELS.values()}


def spec_of(settings: object) -> ModelSpec:
    """Return the spec of a model from its settings; raises `SettingError` for other objects."""
    if type(settings) not in _SPEC_OF_CLASS:
        raise SettingError(f"{settings!r} is not the settings of a model; the models are {', '.join(MODELS)}")
    return _SPEC_OF_CLASS[type(settings)]


def check_tunable(model: str) -> None:
    """Raise `SettingError` if there is no such model, or if it has nothing to tune."""
    if model not in TUNABLE:
        raise SettingError(f"{model!r} is not a model with settings to tune; these are: {', '.join(TUNABLE)}")
