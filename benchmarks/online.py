"""Profiles by the next pick, exploration by regret and coverage, and the time of an update with its search.

    python benchmarks/online.py --part profiles [--events 60] [--model warp]
    python benchmarks/online.py --part exploration [--seeds 10] [--plot docs/exploration.png]
    python benchmarks/online.py --part speed

Profiles: a model learns from the first 70% of MovieLens small by time (ratings of 4 and more). Then, pick
after pick, every kind of profile ranks all items for the person, and the next pick is looked for; all picks
before it made the profile. Intervals are those of a bootstrap over people.

Exploration: people with known tastes come 20 times each, get ten items from a model that knows other people,
and take some; what they take and leave moves their posterior. Regret is what is missing to the ten best.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

import segue
from data import find_data
from segue.data.interactions import from_csr
from segue.data.simulation import simulation
from segue.models import MODELS
from segue.numerics.blas import on_one_thread
from segue.online import (
    EMA,
    Buckets,
    CandidateContext,
    Gaussian,
    Gumbel,
    HalfLife,
    Interests,
    Neighbors,
    Optimism,
    Posterior,
    Profile,
    RankBuckets,
    Recent,
    Reserved,
    ShiftedGaussian,
    Space,
    Thompson,
    explore,
)
from segue.online.interleaving import interleave

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365.25 * 86_400.0
KINDS: dict[str, Any] = {
    "article's EMA, n = 8": EMA(8.0),
    "EMA, n = 30": EMA(30.0),
    "EMA, n = 3": EMA(3.0),
    "EMA, n = 2": EMA(2.0),
    "EMA, n = 1": EMA(1.0),
    "half-life of an hour": HalfLife(HOUR),
    "half-life of a day": HalfLife(DAY),
    "half-life of 30 days": HalfLife(30 * DAY),
    "half-life of a year": HalfLife(YEAR),
    "recent 20, gaussian": Recent(),
    "recent 5, gaussian": Recent(5),
    "next-nearest of the pick": Neighbors("next"),
    "mean of 10 nearest": Neighbors("mean"),
    "weighted 10 nearest": Neighbors("weighted"),
    "interests": Interests(),
    "posterior": Posterior(),
    "posterior that halves by 1 pick": Posterior(picks=1.0),
    "posterior that halves by 2 picks": Posterior(picks=2.0),
    "posterior that halves by 3 picks": Posterior(picks=3.0),
    "posterior that halves by 5 picks": Posterior(picks=5.0),
    "posterior that halves by 10 picks": Posterior(picks=10.0),
    "posterior, half-life of an hour": Posterior(HOUR),
    "posterior, half-life of a day": Posterior(DAY),
    "posterior, half-life of 30 days": Posterior(30 * DAY),
    "posterior, half-life of a year": Posterior(YEAR),
}
RETRAININGS = 10
ROUNDS, BLOCK = 12, 100  # in which the kinds take turns, and the updates of each turn
VISITS, SLATE = 20, 10
EXPLORATIONS: dict[str, list[Any]] = {
    "gaussian noise": [Gaussian(x, draws=0) for x in (0.1, 0.25, 0.5, 1.0, 2.0)],
    "rank buckets": [RankBuckets(x) for x in (2, 4, 8, 16, 32)],
    "bucket noise": [Buckets(x, draws=0) for x in (0.05, 0.1, 0.2, 0.4, 0.8)],
    "shifted gaussian noise": [ShiftedGaussian(x, draws=0) for x in (0.0, 0.1, 0.5, 1.0, 2.0)],
    "Thompson": [Thompson(x, draws=0) for x in (0.03, 0.1, 0.2, 0.4, 0.8)],
    "optimism": [Optimism(x) for x in (0.5, 1.0, 2.0, 4.0)],
    "Gumbel top-k": [Gumbel(x) for x in (0.1, 0.3, 0.5, 0.8, 1.2, 1.6)],
    "reserved slots": [Reserved(x) for x in (1, 2, 4, 6, 8)],
}


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--part", choices=["profiles", "exploration", "speed"], required=True)
    arguments.add_argument("--events", type=int, default=60, help="picks of a person that are looked for")
    arguments.add_argument("--model", default="ials", choices=["ials", "warp", "bpr", "contrastive"])
    arguments.add_argument("--seeds", type=int, default=10)
    arguments.add_argument("--only", default="", help="kinds whose name holds this")
    arguments.add_argument("--plot", type=Path)
    given = arguments.parse_args()
    if given.part == "profiles":
        with on_one_thread():
            profiles(given.model, given.events, given.only)
    elif given.part == "exploration":
        with on_one_thread():
            exploration(given.seeds, given.only, given.plot)
    else:
        speed()


def profiles(model: str, most: int, only: str) -> None:
    train, people, stamps = split()
    trained = segue.Recommender(MODELS[model].settings(dim=64)).fit(train)
    space = trained.space
    known = space.known(np.arange(len(space.items)))
    people = [[(row, when) for row, when in picks if known[row]] for picks in people]
    begin = stamps["cut"]
    ranks = {"popularity": [*popular(trained, people, begin, most)]}
    ranks[f"retrained {RETRAININGS} times"] = [*retrained(people, stamps, len(space.items), begin, most)]
    for name, kind in KINDS.items():
        if only in name and (model == "ials" or not isinstance(kind, Posterior)):
            ranks[name] = [*followed(Profile(kind, space), people, begin, most)]
    report(ranks, "article's EMA, n = 8")


def split() -> tuple[Any, list[list[tuple[int, float]]], dict[str, float]]:
    """The interactions to learn from, every person's picks by time as rows of those items, and the times."""
    data = segue.read_interactions(find_data("ml-latest-small"), min_weight=4.0)
    pairs = data.matrix.tocoo()
    times = np.asarray(data.times, np.float64)
    cut = float(np.quantile(times, 0.7))
    frame = pl.DataFrame(
        {"user": data.users.ids[pairs.row], "item": data.items.ids[pairs.col], "time": times}
    ).sort("time", maintain_order=True)
    train = segue.read_interactions(frame.filter(pl.col("time") < cut), user="user", item="item", time="time")
    rows = train.items.rows(frame["item"])
    frame = frame.with_columns(pl.Series("row", rows)).filter(pl.col("row") >= 0)
    people = [[*zip(part["row"], part["time"], strict=True)] for part in frame.partition_by("user")]
    return train, people, {"cut": cut, "end": float(times.max())}


def asked(picks: list[tuple[int, float]], begin: float, most: int) -> range:
    """The places of the picks that are looked for: those after training that have a pick before them."""
    first = next((place for place, (_, when) in enumerate(picks) if when >= begin), len(picks))
    return range(max(1, first), min(len(picks), max(1, first) + most))


def ranks_of(queries: np.ndarray, items: np.ndarray, rows: list[int], places: range) -> list[int]:
    """How many items that the person has not had stand before each of the picks at some places."""
    scores = queries @ items.T
    targets = scores[np.arange(len(places)), [rows[place] for place in places]]
    for line, place in zip(scores, places, strict=True):
        line[rows[:place]] = -np.inf
    made: list[int] = (scores > targets[:, None]).sum(1).tolist()
    return made


def popular(trained: Any, people: Any, begin: float, most: int) -> Iterator[list[int]]:
    counts = np.bincount(trained.seen.indices, minlength=len(trained.items)).astype(np.float32)[:, None]
    for picks in people:
        places = asked(picks, begin, most)
        yield ranks_of(np.ones((len(places), 1), np.float32), counts, [row for row, _ in picks], places)


def retrained(
    people: Any, stamps: dict[str, float], items: int, begin: float, most: int
) -> Iterator[list[int]]:
    """Models trained now and then on all picks until then; who is new to them gets what is popular."""
    ends = np.linspace(stamps["cut"], stamps["end"], RETRAININGS + 1)[:-1]
    models = []
    for end in ends:
        cells = [(who, row) for who, picks in enumerate(people) for row, when in picks if when < end]
        pairs = tuple(np.array(cells).T)
        matrix = sp.csr_matrix((np.ones(len(cells), np.float32), pairs), (len(people), items))
        matrix.data[:] = 1
        made = segue.IALS(dim=64).fit(from_csr(matrix))
        counts = np.asarray(matrix.sum(0), np.float32).ravel()
        models.append((np.column_stack([made.items, counts]), made.users))
    for who, picks in enumerate(people):
        rows, found = [row for row, _ in picks], []
        for place in asked(picks, begin, most):
            vectors, users = models[int(np.searchsorted(ends, picks[place][1], side="right")) - 1]
            query = np.append(users[who], np.float32(not users[who].any()))
            found += ranks_of(query[None], vectors, rows, range(place, place + 1))
        yield found


def followed(profile: Profile, people: Any, begin: float, most: int) -> Iterator[list[int]]:
    items = profile.space.items
    for picks in people:
        places = asked(picks, begin, most)
        rows, times = [row for row, _ in picks], [when for _, when in picks]
        state = profile.update(profile.start(), rows[: places.start], 1.0, times[: places.start])
        read = []
        for place in places:
            read.append(profile.vectors(state, times[place]))
            state = profile.update(state, rows[place], 1.0, times[place])
        if all(len(queries.vectors) == 1 for queries in read):
            vectors = np.array([queries.vectors[0] for queries in read]).reshape(-1, items.shape[1])
            yield ranks_of(vectors, items, rows, places)
        else:
            yield [
                rank_in_blend(items, queries, rows[:place], rows[place])
                for queries, place in zip(read, places, strict=True)
            ]


def rank_in_blend(items: np.ndarray, queries: Any, had: list[int], target: int) -> int:
    scores = queries.vectors @ items.T
    scores[:, had] = -np.inf
    lists = [np.argpartition(-row, 10)[:10] for row in scores]
    ranked = [rows[np.argsort(-row[rows])].tolist() for rows, row in zip(lists, scores, strict=True)]
    found = np.flatnonzero(np.array(interleave(ranked, ranked, queries.weights, 10)[0], int) == target)
    return int(found[0]) if len(found) else 10


def report(ranks: dict[str, list[list[int]]], base: str) -> None:
    table = Table("profile", "NDCG@10", "hit rate@10", "NDCG over the article's EMA, 95%")
    rng = np.random.default_rng(0)
    people = [who for who, found in enumerate(ranks["popularity"]) if found]
    draws = rng.integers(0, len(people), (2000, len(people)))
    sums = {name: per_person([found[who] for who in people]) for name, found in ranks.items()}
    rows = {}
    for name, (gains, hits, counts) in sums.items():
        ndcg, hit = gains.sum() / counts.sum(), hits.sum() / counts.sum()
        ratio = gains[draws].sum(1) / sums[base][0][draws].sum(1) if base in sums else np.ones(2)
        low, high = np.quantile(ratio, [0.025, 0.975])
        spread = (gains[draws].sum(1) / counts[draws].sum(1)).std()
        table.add_row(name, f"{ndcg:.4f} ± {spread:.4f}", f"{hit:.4f}", f"{low - 1:+.0%} to {high - 1:+.0%}")
        rows[name] = {
            "ndcg": round(ndcg, 4),
            "hit_rate": round(hit, 4),
            "low": round(low, 3),
            "high": round(high, 3),
        }
    counts = sums["popularity"][2]
    Console(width=140).print(f"{len(people)} people, {int(counts.sum()):,} picks", table)
    print(json.dumps(rows))


def per_person(ranks: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sums of NDCG@10 and of hits, and the numbers of picks, of each person."""
    gains = [sum(1 / np.log2(rank + 2) for rank in found if rank < 10) for found in ranks]
    hits = [sum(rank < 10 for rank in found) for found in ranks]
    return np.array(gains), np.array(hits, float), np.array([len(found) for found in ranks], float)


def exploration(seeds: int, only: str, plot: Path | None) -> None:
    worlds = [world(seed) for seed in range(seeds)]
    curves: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {"greedy": [played("greedy", None, worlds)]}
    for name, levels in EXPLORATIONS.items():
        if only in name:
            curves[name] = [played(setting(level), level, worlds) for level in levels]
    table = Table("exploration", "coverage", "regret a step", "NDCG lost")
    best = curves["greedy"][0][2].mean()
    rows = []
    for name, curve in curves.items():
        for level, covered, regret in curve:
            table.add_row(f"{name} {level}", told(covered), told(regret), told(1 - (1 - regret) / (1 - best)))
            rows.append({"name": name, "level": level, "coverage": round(covered.mean(), 4),
                         "regret": round(regret.mean(), 4)})  # fmt: skip
    Console(width=140).print(table)
    print(json.dumps(rows))
    if plot is not None:
        draw(curves, plot)
    Console(width=140).print(equal_coverage(curves))


def setting(level: Any) -> str:
    """The one setting that is varied, such as scale=0.5."""
    field = dataclasses.fields(level)[0].name
    return f"{field}={getattr(level, field)}"


def told(values: np.ndarray) -> str:
    few = len(values) < 2
    error = 0.0 if few else student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.4f} ± {error:.4f}"


def equal_coverage(curves: dict[str, Any]) -> Table:
    """Regret at the same coverage, by interpolation, less that of rank buckets: paired, 95% intervals."""
    names = [name for name in curves if name not in {"greedy", "rank buckets"}]
    table = Table("coverage", "rank buckets", *(f"{name} less it" for name in names), title="regret")
    for share in (0.32, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8):
        found = {name: regret_at(share, curves["greedy"] + curves[name]) for name in ["rank buckets", *names]}
        base = found["rank buckets"]
        pairs = {name: (found[name] - base)[~np.isnan(found[name] - base)] for name in names}
        cells = [told(pair) if len(pair) > 1 else "–" for pair in pairs.values()]
        table.add_row(
            f"{share:.0%}", told(base[~np.isnan(base)]) if not np.isnan(base).all() else "–", *cells
        )
    return table


def regret_at(share: float, curve: list[Any]) -> np.ndarray:
    """The regret of each seed where a curve has some coverage, nan where it never has it."""
    covered, regret = (np.array([point[part] for point in curve]) for part in (1, 2))
    made = []
    for seed in range(covered.shape[1]):
        order = np.argsort(covered[:, seed])
        made.append(np.interp(share, covered[order, seed], regret[order, seed], left=np.nan, right=np.nan))
    return np.array(made)


World = tuple[Space, np.ndarray, np.ndarray]


def world(seed: int) -> World:
    """A model of some people, the chances that fifty others take each item, and how often it was taken."""
    made = simulation(1050, 1000, 31_500, seed=seed)
    old = made.interactions.matrix[:1000].copy()
    old.data[:] = 1
    model = segue.IALS(dim=32).resolved(from_csr(old))
    space = Space.of(model.fit(from_csr(old)), model)
    worth = made.truth.users[1000:] @ made.truth.items.T + 0.5 * np.log(made.truth.popularity + 1e-9)
    worth = (worth - worth.mean()) / worth.std()
    chances = 1 / (1 + np.exp(2.5 - 1.5 * worth))
    return space, chances, np.bincount(old.indices, minlength=1000)


def played(name: str, level: Any, worlds: list[Any]) -> tuple[str, np.ndarray, np.ndarray]:
    """Coverage, and regret a step as a share of what could be had, for each world."""
    found = np.array([steps(level, one, seed) for seed, one in enumerate(worlds)])
    return name, found[:, 0], found[:, 1]


def steps(level: Any, given: World, seed: int) -> tuple[float, float]:
    """A thousand visits: the coverage of the catalogue, and the regret a step."""
    space, chances, counts = given
    rng = np.random.default_rng(seed)
    people, items = chances.shape
    profile = Profile("posterior", space)
    known = space.known(np.arange(items))
    popular_vector = (space.items[known].T @ counts[known]).astype(np.float32)
    wide = Optimism.widened(space.items, counts)
    states = [profile.start() for _ in range(people)]
    allowed = np.tile(known, (people, 1))
    shown = np.zeros(items, bool)
    got = could = 0.0
    for step in range(people * VISITS):
        who = step % people
        queries = profile.vectors(states[who]).vectors
        vector = queries[0] if len(queries) else popular_vector
        rows = np.flatnonzero(allowed[who])
        precision = None
        if isinstance(level, Thompson) and isinstance(profile.kind, Posterior):
            precision = profile.kind.solve(space, states[who], None)[1]
        chosen = slate(level, vector, space, wide, rows, counts, precision, step)
        shown[chosen] = True
        chance = chances[who, chosen]
        got += chance.sum()
        could += np.partition(chances[who, rows], -SLATE)[-SLATE:].sum()
        taken = rng.random(SLATE) < chance
        states[who] = after(states[who], space.items[chosen].astype(np.float64), np.where(taken, 1.0, -0.1))
        allowed[who, chosen[taken]] = False
    return float(shown.mean()), 1 - got / could


def after(state: Any, vectors: np.ndarray, weights: np.ndarray) -> Any:
    """What `Profile.update` makes of picks of one time, in one product."""
    return state | {
        "precision": state["precision"] + (vectors.T * np.abs(weights)) @ vectors,
        "sum": state["sum"] + weights @ vectors,
        "count": state["count"] + np.abs(weights).sum(),
    }


def slate(
    level: Any, vector: Any, space: Space, wide: np.ndarray, rows: np.ndarray, counts: np.ndarray,
    factor: Any, seed: int,
) -> np.ndarray:  # fmt: skip
    def find(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        (query,) = queries
        scores = ((space.items if len(query) == len(vector) else wide) @ query)[rows]
        best = np.argpartition(-scores, min(k, len(rows)) - 1)[:k]
        best = best[np.argsort(-scores[best])]
        return rows[best][None], scores[best][None]

    if level is None:
        best: np.ndarray = find(vector[None], SLATE)[0][0]
        return best
    precision = None if factor is None else np.tril(factor) @ np.tril(factor).T
    return explore(level, CandidateContext(vector, space.items, find, precision, counts), SLATE, seed).ids


def draw(curves: dict[str, Any], path: Path) -> None:
    """The share of the greedy clicks that is lost, against the coverage that is gained."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panel = plt.subplots(figsize=(7.5, 5))
    base = 1 - curves["greedy"][0][2]
    for name, curve in curves.items():
        covered = [100 * point[1].mean() for point in curve]
        lost = [100 * (1 - ((1 - point[2]) / base).mean()) for point in curve]
        looks = {"marker": "*", "markersize": 16, "zorder": 3} if name == "greedy" else {"marker": "o"}
        panel.plot(covered, lost, label=name, **looks)
    panel.set(xlabel="items of the catalogue that were shown, %", ylabel="takes lost against greedy, %")
    panel.grid(alpha=0.3)
    panel.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def speed() -> None:
    data = segue.data.simulate(20_000, 25_000, 800_000, seed=0)
    trained = segue.Recommender(segue.IALS(dim=64, iterations=4)).fit(data)
    space, index = trained.space, trained.index
    known = np.flatnonzero(space.known(np.arange(len(space.items))))
    rng = np.random.default_rng(0)
    table = Table("profile", "update, us", "reading, us", "search, us", "all, us")
    rows = {}
    made = {name: Profile(kind, space) for name, kind in SPEED.items()}
    states = {name: profile.start() for name, profile in made.items()}
    spent: dict[str, list[list[float]]] = {name: [] for name in made}
    for turn in range(ROUNDS):
        for name, profile in made.items():
            for row in rng.choice(known, BLOCK).tolist():
                marks = [time.perf_counter()]
                states[name] = profile.update(states[name], row, 1.0, float(turn))
                marks.append(time.perf_counter())
                queries = profile.vectors(states[name]).vectors
                marks.append(time.perf_counter())
                index.search(queries, 10)
                marks.append(time.perf_counter())
                if turn:
                    spent[name].append([*np.diff(marks), marks[-1] - marks[0]])
    for name, times in spent.items():
        middle = 1e6 * np.median(times, axis=0)
        table.add_row(name, *(f"{value:.1f}" for value in middle))
        rows[name] = middle.round(1).tolist()
    Console().print(table)
    print(json.dumps(rows))


SPEED: dict[str, Any] = {
    "EMA": EMA(), "half-life": HalfLife(), "recent": Recent(), "posterior": Posterior(),
    "posterior by picks": Posterior(picks=3.0),
}  # fmt: skip


if __name__ == "__main__":
    main()
