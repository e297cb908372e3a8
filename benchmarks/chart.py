"""The plot of time per query against recall."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

OURS = "segue"
FAMILIES = ("hnswlib", "faiss HNSW", "faiss IVF", "faiss PQ", "scann", "svs", "usearch", "voyager")
LOWEST = 0.5  # recall below which nothing is drawn


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw one panel a data set: each library's fastest settings as a line, segue as a labelled point."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = min(2, len(curves))
    lines = -(-len(curves) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(7.5 * columns, 5 * lines), squeeze=False)
    for panel in panels.flat[len(curves) :]:
        panel.set_visible(False)
    for panel, (label, rows) in zip(panels.flat, curves.items(), strict=False):
        for number, family in enumerate(FAMILIES):
            points = frontier([row for row in rows if row["name"].startswith(family)])
            if points:
                panel.plot(
                    *zip(*points, strict=True), marker="o", markersize=4, label=family, color=f"C{number}"
                )
        for row in rows:
            if row["name"] in (OURS, "faiss flat", "numpy"):
                mark(panel, row)
        panel.set(title=label, xlabel="recall", ylabel="microseconds a query", yscale="log")
        panel.set_xlim(LOWEST, 1.02)
        panel.grid(which="both", alpha=0.25)
        panel.legend(fontsize=8, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def frontier(rows: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """The points of a family, (recall, us), that no other of it beats at both."""
    points = sorted(
        (us, -recall) for row in rows for _, recall, us in row.get("points", ()) if recall >= LOWEST
    )
    found: list[tuple[float, float]] = []
    for us, loss in points:
        if not found or -loss > found[-1][0]:
            found.append((-loss, us))
    return found


def mark(panel: Any, row: dict[str, Any]) -> None:
    """A labelled point at recall 1."""
    ours = row["name"] == OURS
    place, text = (1.0, row["us"]), f"{row['name']} {row['us']:.3g}"
    shape, size, colour = ("*", 140, "crimson") if ours else ("s", 40, "black")
    panel.scatter(*place, s=size, marker=shape, zorder=5, color=colour)
    below = -11 if ours else 3
    panel.annotate(text, place, xytext=(-8, below), textcoords="offset points", ha="right", fontsize=9)
