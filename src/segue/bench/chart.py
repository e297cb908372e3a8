"""Plot queries per second against recall: other libraries as lines, segue's indexes with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from segue.evaluation import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve: TypeAlias = Mapping[str, Any]
"""One search: `name`, `us`, `points` of (setting, recall, microseconds), and `ours` for segue's indexes."""

FAMILIES = (
    "hnswlib", "faiss HNSW", "faiss IVF", "faiss PQ", "scann", "svs", "usearch", "voyager", "annoy",
)  # fmt: skip
EXACT = ("faiss flat", "numpy")
MIN_RECALL = 0.5  # points below are not drawn


def draw(curves: Mapping[str, Sequence[Curve]], path: Path) -> None:
    """Draw one panel per data set.

    Args:
        curves: the curves of each data set, by its title. A curve belongs to segue if its name is "segue" or
            its `ours` is true; every other library is one line.
        path: the image file.
    """
    columns = min(2, len(curves))
    lines = -(-len(curves) // columns)
    figure = figures.figure(7.5 * columns, 5 * lines)
    panels = figure.subplots(lines, columns, squeeze=False)
    for panel in panels.flat[len(curves) :]:
        panel.set_visible(False)
    for panel, (title, rows) in zip(panels.flat, curves.items(), strict=False):
        _draw_libraries(panel, rows)
        _draw_segue(panel, [row for row in rows if row.get("ours") or row["name"] == "segue"])
        panel.set(title=title, xlabel="recall", ylabel="queries per second", yscale="log")
        panel.set_xlim(MIN_RECALL, 1.04)
        panel.grid(which="both", alpha=0.25)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=110)


def _draw_libraries(panel: Axes, rows: Sequence[Curve]) -> None:
    for number, family in enumerate(FAMILIES):
        points = frontier(
            [row for row in rows if row["name"].startswith(family) and row["name"] not in EXACT]
        )
        if points:
            panel.plot(*zip(*points, strict=True), marker="o", markersize=3, label=family, color=f"C{number}")
    for row in rows:
        if row["name"] in EXACT:
            _mark(panel, row, "s", "black")


def _draw_segue(panel: Axes, rows: Sequence[Curve]) -> None:
    for row in rows:
        points = frontier([row])
        if len(points) > 1:
            panel.plot(*zip(*points, strict=True), marker="*", markersize=9, color="crimson", linewidth=2)
            _label(panel, row["name"], *points[0], "crimson", side="left")
        elif points:
            _mark(panel, row, "*", "crimson")


def frontier(rows: Sequence[Curve]) -> list[tuple[float, float]]:
    """Return the points (recall, queries per second) that no other point beats at both."""
    points = sorted(
        (us, -recall) for row in rows for _, recall, us in row.get("points", ()) if recall >= MIN_RECALL
    )
    best: list[tuple[float, float]] = []
    for us, loss in points:
        if not best or -loss > best[-1][0]:
            best.append((-loss, 1e6 / us))
    return best


def _mark(panel: Axes, row: Curve, shape: str, color: str) -> None:
    """Draw a labeled point at recall 1."""
    speed = 1e6 / row["us"]
    panel.scatter(1.0, speed, s=140 if shape == "*" else 40, marker=shape, zorder=5, color=color)
    _label(panel, f"{row['name']} {row['us']:.3g} us", 1.0, speed, color)


def _label(panel: Axes, text: str, recall: float, speed: float, color: str, side: str = "right") -> None:
    """Write a label above a point, outlined in white so that it is legible on lines."""
    from matplotlib.patheffects import withStroke

    panel.annotate(
        text, (recall, speed), xytext=(8 if side == "right" else -4, 9), textcoords="offset points", ha=side,
        fontsize=9, color=color, zorder=6, path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip
