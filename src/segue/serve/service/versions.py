"""Model versions: open the newest intact one, and replace it when the model folder has a new one."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, Sequence

from segue import store
from segue.errors import SegueError, SettingError
from segue.serve.events.base import NewItem
from segue.serve.metrics import Metrics
from segue.serve.service.loaded_model import LoadedModel, open_model
from segue.serve.settings import Settings

INTERVAL = 0.5  # seconds between checks of the model folder
log = logging.getLogger("segue")


class ModelVersions:
    """The version that is served, and its replacement.

    Requests that run during a replacement keep the version they began with.

    Attributes:
        refused: the name of a current version that cannot be served, or None.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._active: LoadedModel | None = None
        self._lock = asyncio.Lock()
        self.refused: str | None = None

    @property
    def active(self) -> LoadedModel:
        """The version that is served; raises `SettingError` before `open`."""
        if self._active is None:
            raise SettingError("the service has not been started")
        return self._active

    async def open(self, added: Sequence[NewItem]) -> None:
        """Load the current version, or the newest intact one if the current one is damaged."""
        model = await asyncio.to_thread(self._open_newest, added)
        current = self._current()
        self.refused = None if current == model.version else current
        self._activate(model)

    def close(self) -> None:
        """Stop the searches of the active version."""
        self.active.batcher.close()

    async def refresh(self, read_added: Callable[[], Awaitable[list[NewItem]]]) -> None:
        """Serve the current version with all added items, unless it is served already.

        A version that cannot be served is logged and remembered in `refused`.
        """
        async with self._lock:
            active = self.active
            try:
                current = store.current_version(self._settings.model)
                if current == self.refused:
                    current = active.version
                added = await read_added()
                latest = added[-1].id if added else 0
                if (current, latest) == (active.version, active.added):
                    return
                model = await asyncio.to_thread(self._open, current, added)
            except SegueError as error:
                self._metrics.swaps.labels("refused").inc()
                log.error("version %s is kept: %s", active.name, error)
                self.refused = self._current()
                return
            if current != active.version:
                self.refused = None
            self._activate(model)
            active.batcher.close()

    async def follow(self, read_added: Callable[[], Awaitable[list[NewItem]]]) -> None:
        """Refresh until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self.refresh(read_added)
            except Exception:
                log.exception("cannot check the model folder for a new version")

    def _activate(self, model: LoadedModel) -> None:
        self._active = model
        gc.freeze()  # a version lives long; collecting its objects again and again would delay requests
        self._metrics.swaps.labels("taken").inc()
        self._metrics.model.set(int(model.version.split("-")[0]))
        log.info("serving version %s", model.name)

    def _open(self, version: str, added: Sequence[NewItem]) -> LoadedModel:
        return open_model(self._settings.model, version, added, self._settings.profile, self._metrics)

    def _open_newest(self, added: Sequence[NewItem]) -> LoadedModel:
        first_error: SegueError | None = None
        for version in [None, *reversed(store.versions(self._settings.model))]:
            try:
                return self._open(version or store.current_version(self._settings.model), added)
            except SegueError as error:  # noqa: PERF203 - an older version may be intact
                log.error("%s cannot be served: %s", version or "the current version", error)
                first_error = first_error or error
        raise first_error or SegueError(f"the model folder {self._settings.model} has no versions")

    def _current(self) -> str | None:
        try:
            return store.current_version(self._settings.model)
        except SegueError:
            return None
