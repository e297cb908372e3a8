"""Lists for users, histories, features and vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from segue.data.ids import Id
from segue.errors import DataError
from segue.models import spec_of
from segue.online.interleaving import interleave
from segue.recommender.exclusions import NO_ITEMS
from segue.recommender.histories import check_history
from segue.recommender.options import ListOptions
from segue.recommender.ranker import items_of
from segue.serve.metrics import Metrics
from segue.serve.payloads import ListPayload, PanelsPayload, UserListsPayload
from segue.serve.service.deadline import await_until
from segue.serve.service.loaded_model import LoadedModel
from segue.serve.service.query_context import (
    FEATURES,
    VECTOR,
    QueryContext,
    history_context,
    reasons,
    user_context,
    user_query,
    vector_context,
)
from segue.serve.service.users import UserService
from segue.serve.service.versions import ModelVersions


class ListService:
    """Recommends items. All lists of a request come from one model version."""

    def __init__(
        self, versions: ModelVersions, users: UserService, metrics: Metrics, deadline: float
    ) -> None:
        self._versions, self._users = versions, users
        self._metrics, self._deadline = metrics, deadline

    async def for_user(self, user_id: str, options: ListOptions) -> ListPayload:
        """Recommend to a user: by their profile, their trained vector, or popularity."""
        model = self._versions.active
        user = await self._users.state(model, user_id)
        return await self._list(model, user_context(model, user_id, user), options)

    async def for_users(self, user_ids: Sequence[str], options: ListOptions) -> UserListsPayload:
        """Recommend to each of several users."""
        model = self._versions.active
        users = [await self._users.state(model, user_id) for user_id in user_ids]
        contexts = [user_context(model, user_id, user) for user_id, user in zip(user_ids, users, strict=True)]
        lists = await asyncio.gather(*(self._list(model, context, options) for context in contexts))
        return {
            "model_version": model.name,
            "users": [{"user_id": user_id, **one} for user_id, one in zip(user_ids, lists, strict=True)],
        }

    async def for_history(
        self, history: Sequence[Id] | Mapping[Id, float], options: ListOptions
    ) -> ListPayload:
        """Recommend to an untrained user by a history; unknown items are ignored.

        Raises `DataError` for what `TrainedRecommender.recommend_for` refuses, too: weights that are negative
        or not finite, and items without ratings for a model that learns from ratings.
        """
        model = self._versions.active
        recommender = model.recommender
        needs_ratings = spec_of(recommender.settings.model).ratings
        matrix = check_history(history, recommender.items, needs_ratings=needs_ratings, on_unknown="skip")
        return await self._list(model, history_context(model, matrix), options)

    async def for_features(self, features: Mapping[str, object], options: ListOptions) -> ListPayload:
        """Recommend to an untrained user by their features, one value for each column."""
        model = self._versions.active
        try:
            vectors = model.recommender.users_of(features)
        except pl.exceptions.PolarsError as error:
            raise DataError(f"the features cannot be read: {error}") from error
        if len(vectors) != 1:
            raise DataError(f"the features have {len(vectors)} rows; give one value for each column")
        return await self._list(model, vector_context(vectors, FEATURES), options)

    async def for_vector(self, vector: Sequence[float], options: ListOptions) -> ListPayload:
        """Recommend items for a vector (dim,) of the model's space."""
        model = self._versions.active
        dim = model.recommender.embeddings.dim
        with np.errstate(over="ignore"):
            vectors = np.array([vector], np.float32)
        if vectors.shape[1] != dim:
            raise DataError(f"the vector has {vectors.shape[1]} numbers; this model version has {dim}")
        if not np.isfinite(vectors).all():
            raise DataError("the vector must consist of finite numbers that float32 can hold")
        return await self._list(model, vector_context(vectors, VECTOR), options)

    async def panels(self, user_id: str, options: ListOptions) -> PanelsPayload:
        """Recommend to a user in four ways: best items, gaussian noise, buckets, and diversified."""
        model = self._versions.active
        user = await self._users.state(model, user_id)
        context = user_context(model, user_id, user)
        best, noise, buckets, diverse = await asyncio.gather(
            self._list(model, context, options),
            self._list(model, context, replace(options, explore="gaussian")),
            self._list(model, context, replace(options, explore="buckets")),
            self._list(model, context, replace(options, diversify="mmr:0.5")),
        )
        return {
            "model_version": model.name,
            "user_id": user_id,
            "recommendations": best,
            "noise": noise,
            "buckets": buckets,
            "diverse": diverse,
        }

    async def _list(self, model: LoadedModel, context: QueryContext, options: ListOptions) -> ListPayload:
        """Return the list of a context: by a batched search if the list is simply the best items."""
        self._metrics.count_list(context.source)
        allow = None
        if options.allow is not None or options.where or options.exclude:
            allow = model.recommender.filters.allowed(options)
        exclude = context.exclude if options.exclude_seen else NO_ITEMS
        k = min(options.k, len(model.recommender.items))
        if not options.is_plain or options.explain:
            options = options if options.k == k else replace(options, k=k)
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(None, _ranked, model, context, options, exclude, allow)
            return await await_until(work, self._deadline)
        searches = [model.batcher.search(vector, exclude, k, allow) for vector in context.vectors]
        if len(searches) == 1:
            rows, scores = await await_until(searches[0], self._deadline)
        else:
            rankings = [await await_until(search, self._deadline) for search in searches]
            row_lists, score_lists = zip(*rankings, strict=True)
            rows, scores = interleave(row_lists, score_lists, context.weights, k)
        return {
            "model_version": model.name,
            "source": context.source,
            "items": model.listed_items(rows, scores),
        }


def _ranked(
    model: LoadedModel,
    context: QueryContext,
    options: ListOptions,
    exclude: np.ndarray,
    allow: np.ndarray | None,
) -> ListPayload:
    """Return an explored, diversified or explained list."""
    query = user_query(model, context, exclude)
    lists = model.recommender.ranker.rank(query, options, allow)
    rows, scores = items_of(lists)
    items = model.listed_items(rows, scores)
    payload: ListPayload = {"model_version": model.name, "source": context.source, "items": items}
    if lists.propensities is not None:
        payload["exploration"] = {"settings": repr(options.explorer), "seed": int(options.seed)}
        for item, propensity in zip(items, lists.propensities[0].tolist(), strict=False):
            item["propensity"] = propensity
    if options.explain:
        item_reasons = reasons(model, context, query, np.array(rows, np.int32))
        for item, parts in zip(items, item_reasons, strict=True):
            item["reasons"] = [
                {
                    "reason": part["reason"],
                    "value": part["value"],
                    "title": part["title"],
                    "share": part["share"],
                }
                for part in parts
            ]
    return payload
