"""segue verify: every byte of a model against its checksums."""

from __future__ import annotations

from collections.abc import Mapping

from segue import store
from segue.cli.answers import print_json
from segue.cli.options import Json, ModelArgument, Quiet
from segue.cli.terminal import Bars, output
from segue.progress import NOTHING, Progress


def verify(model: ModelArgument, as_json: Json = False, quiet: Quiet = False) -> None:
    """Check every byte of a model against the checksums it was written with.

    [dim]Example: segue verify model[/dim]
    """
    with Bars(shown=not quiet) as bars:
        store.verify(model, progress=_in_mib(bars))
    version = store.current_version(model)
    if as_json:
        print_json({"model": str(model), "version": version, "intact": True})
    else:
        output().print(f"Version {version} in {model} is intact")


def _in_mib(progress: Progress) -> Progress:
    def told(what: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
        size = -(-total >> 20)
        progress(f"{what}, MiB", size if done == total else done >> 20, size)

    return told
