"""The plot of speed against recall: other libraries as lines, our own indexes labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segue.evaluation import figures

FAMILIES = (
    "hnswlib", "faiss HNSW", "faiss IVF", "faiss PQ", "scann", "svs", "usearch", "voyager", "annoy",
)  # fmt: skip
EXACT = ("faiss flat", "numpy")
LOWEST = 0.5  # recall below which nothing is drawn


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw a panel for each data set, of rows with a name and points (setting, recall, us).

    A row is ours where its name is "segue" or it says `ours`; every other library is a line.
    """
    columns = min(2, len(curves))
    lines = -(-len(curves) // columns)
    figure = figures.figure(7.5 * columns, 5 * lines)
    panels = figure.subplots(lines, columns, squeeze=False)
    for panel in panels.flat[len(curves) :]:
        panel.set_visible(False)
    for panel, (label, rows) in zip(panels.flat, curves.items(), strict=False):
        _draw_others(panel, rows)
        _draw_ours(panel, [row for row in rows if row.get("ours") or row["name"] == "segue"])
        panel.set(title=label, xlabel="recall", ylabel="queries a second", yscale="log")
        panel.set_xlim(LOWEST, 1.04)
        panel.grid(which="both", alpha=0.25)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=110)


def _draw_others(panel: Any, rows: list[dict[str, Any]]) -> None:
    for number, family in enumerate(FAMILIES):
        points = frontier(
            [row for row in rows if row["name"].startswith(family) and row["name"] not in EXACT]
        )
        if points:
            panel.plot(*zip(*points, strict=True), marker="o", markersize=3, label=family, color=f"C{number}")
    for row in rows:
        if row["name"] in EXACT:
            _mark(panel, row, "s", "black")


def _draw_ours(panel: Any, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        points = frontier([row])
        if len(points) > 1:
            panel.plot(*zip(*points, strict=True), marker="*", markersize=9, color="crimson", linewidth=2)
            _label(panel, row["name"], *points[0], "crimson", side="left")
        elif points:
            _mark(panel, row, "*", "crimson")


def frontier(rows: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """The points of a family, (recall, queries a second), that no other of it beats at both."""
    points = sorted(
        (us, -recall) for row in rows for _, recall, us in row.get("points", ()) if recall >= LOWEST
    )
    found: list[tuple[float, float]] = []
    for us, loss in points:
        if not found or -loss > found[-1][0]:
            found.append((-loss, 1e6 / us))
    return found


def _mark(panel: Any, row: dict[str, Any], shape: str, colour: str) -> None:
    """A labelled point at recall 1."""
    speed = 1e6 / row["us"]
    panel.scatter(1.0, speed, s=140 if shape == "*" else 40, marker=shape, zorder=5, color=colour)
    _label(panel, f"{row['name']} {row['us']:.3g} us", 1.0, speed, colour)


def _label(panel: Any, text: str, recall: float, speed: float, colour: str, side: str = "right") -> None:
    """Write above a point, its right or left end there, on a white edge that parts it from the lines."""
    from matplotlib.patheffects import withStroke

    panel.annotate(
        text, (recall, speed), xytext=(8 if side == "right" else -4, 9), textcoords="offset points", ha=side,
        fontsize=9, color=colour, zorder=6, path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip
