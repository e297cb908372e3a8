"""segue verify: check a model against its checksums."""

from __future__ import annotations

from collections.abc import Mapping

from segue import store
from segue.cli.answers import print_json
from segue.cli.options import Json, ModelArgument, Quiet
from segue.cli.progress import ProgressBars
from segue.cli.terminal import output
from segue.progress import NOTHING, Progress

MIB = 1 << 20


def verify(model: ModelArgument, as_json: Json = False, quiet: Quiet = False) -> None:
    """Check every byte of a model against its checksums.

    [dim]Example: segue verify model[/dim]
    """
    with ProgressBars(shown=not quiet) as bars:
        store.verify(model, progress=_in_mib(bars))
    version = store.current_version(model)
    if as_json:
        print_json({"model": str(model), "version": version, "intact": True})
    else:
        output().print(f"Version {version} in {model} is intact")


def _in_mib(progress: Progress) -> Progress:
    """Return a callback that reports bytes in MiB."""

    def report(step: str, done: int, total: int, values: Mapping[str, float] = NOTHING) -> None:
        size = -(-total // MIB)
        progress(f"{step}, MiB", size if done == total else done // MIB, size)

    return report
