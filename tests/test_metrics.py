"""Ranks and metrics against code that follows the definitions word by word, and against other libraries."""

import math

import numpy as np
import polars as pl
import pytest
import pytrec_eval
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from segue.errors import DataError, SettingError
from segue.evaluation.metrics import check_ks, difference, measure
from segue.numerics.ranks import rank

PER_USER = ("precision", "recall", "ndcg", "map", "mrr", "hit_rate")


def table(scores):
    """A scorer that looks the scores up."""
    return lambda users: np.asarray(scores, np.float32)[users]


def csr(rows, items):
    """A CSR from one list of columns per row."""
    made = sp.lil_matrix((len(rows), items), dtype=np.float32)
    for row, columns in enumerate(rows):
        made[row, sorted(columns)] = 3.5
    return made.tocsr()


def naive_order(scores, seen):
    return sorted((i for i in range(len(scores)) if i not in seen), key=lambda i: (-scores[i], i))


def naive_user(scores, truth, seen, unknown, k):
    """The metrics of one user, pair by pair and place by place."""
    order = naive_order(scores, seen)
    held = truth - seen
    n = len(held) + unknown
    hits = [item in held for item in order]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, n) + 1))
    gains = [1 / math.log2(place + 1) for place, hit in enumerate(hits[:k], 1) if hit]
    found = [sum(hits[:place]) / place for place, hit in enumerate(hits[:k], 1) if hit]
    others = [item for item in order if item not in held]
    pairs = [(scores[i] > scores[j]) + (scores[i] == scores[j]) / 2 for i in held for j in others]
    return {
        "precision": sum(hits[:k]) / k,
        "recall": sum(hits[:k]) / n,
        "ndcg": sum(gains) / ideal,
        "map": sum(found) / min(k, n),
        "mrr": next((1 / place for place, hit in enumerate(hits[:k], 1) if hit), 0.0),
        "hit_rate": float(any(hits[:k])),
        "auc": sum(pairs) / len(pairs) if pairs else math.nan,
        "top": order[:k],
    }


def naive_mean(values):
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return math.nan, math.nan
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def same(got, wanted):
    return got == pytest.approx(wanted, rel=1e-12, abs=1e-15, nan_ok=True)


def check(scores, truth, seen, unknown, ks, **options):
    """Rank and measure, and compare all that comes out with the naive twin; returns both results."""
    users, items = scores.shape
    scores, truth, seen = scores.tolist(), [set(row) for row in truth], [set(row) for row in seen]
    measured = [u for u in range(users) if truth[u] - seen[u] or unknown[u]]
    args = (table(scores), np.arange(users), csr(truth, items), csr(seen, items))
    ranks = rank(*args, k=max(ks), unknown=unknown, **options)
    found = measure(ranks, ks)
    assert ranks.users.tolist() == found.rows.tolist() == measured
    assert found.users == len(measured)
    for j, u in enumerate(measured):
        order = naive_order(scores[u], seen[u])
        positions = [place for place, item in enumerate(order, 1) if item in truth[u]]
        assert ranks.positions[ranks.indptr[j] : ranks.indptr[j + 1]].tolist() == positions
        assert ranks.eligible[j] == len(order)
        top = (order + [-1] * items)[: min(max(ks), items)]
        assert ranks.top[j].tolist() == top
    for k in sorted(set(ks)):
        naive = [naive_user(scores[u], truth[u], seen[u], unknown[u], k) for u in measured]
        for metric in PER_USER:
            values = [one[metric] for one in naive]
            assert same(found.per_user[f"{metric}@{k}"].tolist(), values), metric
            assert same((found[f"{metric}@{k}"], found.errors[f"{metric}@{k}"]), naive_mean(values)), metric
        shown = {item for one in naive for item in one["top"]}
        assert found[f"coverage@{k}"] == len(shown) / items
        assert math.isnan(found.errors[f"coverage@{k}"])
    aucs = [one["auc"] for one in naive]
    assert same(found.per_user["auc"].tolist(), aucs)
    assert same((found["auc"], found.errors["auc"]), naive_mean(aucs))
    return ranks, found


@st.composite
def cases(draw):
    users, items = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    values = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0, math.inf])  # few values, so many ties
    scores = draw(st.lists(st.lists(values, min_size=items, max_size=items), min_size=users, max_size=users))
    some = st.lists(st.sets(st.integers(0, items - 1)).map(sorted), min_size=users, max_size=users)
    unknown = draw(st.lists(st.integers(0, 3), min_size=users, max_size=users))
    ks = draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    return np.array(scores), draw(some), draw(some), unknown, ks


@settings(max_examples=300, deadline=None)
@given(case=cases(), threads=st.sampled_from([1, 2]), block=st.sampled_from([1, 80, 1 << 20]))
def test_everything_is_as_in_the_naive_twin(case, threads, block):
    scores, truth, seen, unknown, ks = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("segue.numerics.ranks.BLOCK_BYTES", block)
        if any(set(t) - set(s) or n for t, s, n in zip(truth, seen, unknown, strict=True)):
            check(scores, truth, seen, unknown, ks, threads=threads)
        else:
            with pytest.raises(DataError, match="no held-out item to find"):
                check(scores, truth, seen, unknown, ks, threads=threads)


@pytest.mark.parametrize("items", [1, 2, 5, 7, 13, 31, 64, 257, 600])
@pytest.mark.parametrize("tied", [False, True])
def test_vector_tails_and_long_heaps(items, tied):
    rng = np.random.default_rng(items)
    scores = rng.standard_normal((4, items)).astype(np.float32)
    if tied:
        scores = np.round(scores)
    truth = [np.flatnonzero(rng.random(items) < 0.2).tolist() for _ in range(4)]
    seen = [np.flatnonzero(rng.random(items) < 0.3).tolist() for _ in range(4)]
    truth[0], seen[0] = [items - 1], []
    check(scores, truth, seen, [0] * 4, (1, 10, 100))


@pytest.mark.parametrize("direction", [1, -1])
def test_scores_that_rise_or_fall_with_the_row(direction):
    scores = direction * np.arange(60.0)[None, :]
    _, found = check(scores, [[0, 20, 59]], [[58]], [0], (1, 3, 59))
    assert found["mrr@59"] == 1.0


def test_an_example_worked_by_hand():
    # In order: items 4 3 2 1 0; item 3 was seen. Held out: 2 and 0, so positions 2 and 4 of 4.
    found = measure(rank(table([[0, 1, 2, 3, 4]]), [0], csr([[0, 2]], 5), csr([[3]], 5), k=4), ks=(1, 2, 4))
    assert found["precision@2"] == 1 / 2
    assert found["precision@4"] == 2 / 4
    assert found["recall@1"] == 0
    assert found["recall@2"] == 1 / 2
    assert found["recall@4"] == 1
    ideal = 1 / math.log2(2) + 1 / math.log2(3)
    assert same(found["ndcg@2"], (1 / math.log2(3)) / ideal)
    assert same(found["ndcg@4"], (1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert same(found["map@2"], (1 / 2) / 2)
    assert same(found["map@4"], (1 / 2 + 2 / 4) / 2)
    assert [found[f"mrr@{k}"] for k in (1, 2, 4)] == [0, 1 / 2, 1 / 2]
    assert [found[f"hit_rate@{k}"] for k in (1, 2, 4)] == [0, 1, 1]
    assert found["auc"] == 1 / 4  # of the pairs (2, 4) (2, 1) (0, 4) (0, 1) only (2, 1) is right
    assert [found[f"coverage@{k}"] for k in (1, 2, 4)] == [1 / 5, 2 / 5, 4 / 5]
    assert math.isnan(found.errors["recall@2"])  # one user says nothing about the spread


def test_recall_divides_by_all_held_out_items_but_ndcg_and_map_by_what_fits():
    found = measure(rank(table([[4, 3, 2, 1, 0]]), [0], csr([[0, 1, 2, 3]], 5), k=2), ks=2)
    assert found["recall@2"] == 2 / 4
    assert found["precision@2"] == found["ndcg@2"] == found["map@2"] == 1


def test_mean_and_standard_error_of_two_users():
    truth = csr([[0], [2]], 3)
    found = measure(rank(table([[3, 2, 1], [3, 2, 1]]), [0, 1], truth, k=1), ks=1)
    assert found["recall@1"] == 1 / 2
    assert same(found.errors["recall@1"], math.sqrt(0.5) / math.sqrt(2))
    assert found.per_user["recall@1"].tolist() == [1, 0]


def test_unknown_items_are_misses_but_not_in_auc():
    args = (table([[4, 3, 2], [4, 3, 2]]), [0, 1], csr([[0], []], 3))
    found = measure(rank(*args, k=3, unknown=[3, 1]), ks=(2, 3))
    assert found.per_user["recall@2"].tolist() == [1 / 4, 0]
    assert found.per_user["map@3"].tolist() == [1 / 3, 0]
    assert same(found.per_user["ndcg@2"].tolist(), [1 / (1 + 1 / math.log2(3)), 0])
    assert found.per_user["auc"][0] == 1
    assert math.isnan(found.per_user["auc"][1])
    assert found["auc"] == 1  # of the one user who has it
    assert measure(rank(*args, k=2), ks=2).users == 1


def test_nobody_has_an_auc():
    found = measure(rank(table([[1, 2]]), [0], csr([[0, 1]], 2), k=1), ks=1)
    assert math.isnan(found["auc"])
    assert math.isnan(found.errors["auc"])
    assert found.frame().filter(pl.col("metric") == "auc").row(0) == ("auc", None, None, None)


def test_without_seen_the_training_items_stay_in_the_ranking():
    scores, truth, train = table([[5, 4, 3, 2]]), csr([[2]], 4), csr([[0, 1]], 4)
    assert rank(scores, [0], truth, train, k=1).positions.tolist() == [1]
    ranks = rank(scores, [0], truth, k=1)
    assert ranks.positions.tolist() == [3]
    assert ranks.eligible.tolist() == [4]


def test_equal_scores_go_by_item_row_and_count_half_in_auc():
    ranks = rank(table(np.zeros((1, 5))), [0], csr([[1, 3]], 5), k=5)
    assert ranks.positions.tolist() == [2, 4]
    assert ranks.top.tolist() == [[0, 1, 2, 3, 4]]
    assert measure(ranks, ks=5)["auc"] == 0.5


def test_infinite_scores_have_their_places_and_nothing_seen_comes_back():
    scores = [[-np.inf, 1, -np.inf, np.inf, -np.inf]]
    ranks = rank(table(scores), [0], csr([[0, 2]], 5), csr([[4]], 5), k=9)
    assert ranks.positions.tolist() == [3, 4]
    assert ranks.top.tolist() == [[3, 1, 0, 2, -1]]


def test_standard_metrics_as_in_trec_eval():
    rng = np.random.default_rng(7)
    users, items, ks = 40, 90, (1, 5, 10, 90)
    scores = rng.permuted(np.tile(np.arange(items), (users, 1)), axis=1).astype(np.float32)
    truth = sp.csr_matrix((rng.random((users, items)) < rng.random((users, 1)) * 0.3) & (scores != 44))
    found = measure(rank(table(scores), np.arange(users), truth, k=90), ks)
    asked = {f"{name}.{','.join(map(str, ks))}" for name in ("P", "recall", "ndcg_cut", "map_cut", "success")}
    qrel = {str(u): {str(i): 1 for i in truth[u].indices} for u in found.rows}
    run = {str(u): {str(i): float(scores[u, i]) for i in range(items)} for u in found.rows}
    theirs = pytrec_eval.RelevanceEvaluator(qrel, asked | {"recip_rank"}).evaluate(run)
    counts = np.diff(truth.indptr)[found.rows]
    assert found.users > 30

    def their(name):
        return np.array([theirs[str(u)][name] for u in found.rows])

    pairs = {"precision": "P", "recall": "recall", "ndcg": "ndcg_cut", "hit_rate": "success"}
    for k in ks:
        for ours, name in pairs.items():
            assert same(found.per_user[f"{ours}@{k}"], their(f"{name}_{k}")), ours
        # theirs divides by all held-out items, ours by as many as fit into k places
        assert same(found.per_user[f"map@{k}"], their(f"map_cut_{k}") * counts / np.minimum(counts, k))
    assert same(found.per_user["mrr@90"], their("recip_rank"))


@pytest.mark.parametrize("levels", [3, 10**6])
def test_auc_as_in_scikit_learn(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, (20, 300)).astype(np.float32)
    truth, seen = rng.random((20, 300)) < 0.05, rng.random((20, 300)) < 0.2
    ranks = rank(table(scores), np.arange(20), sp.csr_matrix(truth), sp.csr_matrix(seen), k=1)
    theirs = [roc_auc_score(truth[u][~seen[u]], scores[u][~seen[u]]) for u in ranks.users]
    assert same(measure(ranks, ks=1).per_user["auc"], np.array(theirs))


def random_case(users=50, items=200):
    rng = np.random.default_rng(3)
    scores = np.round(rng.standard_normal((users, items)), 1).astype(np.float32)
    return scores, *(sp.random(users, items, density, "csr", random_state=rng) for density in (0.05, 0.2))


def test_the_same_for_any_threads_blocks_and_order_of_users(monkeypatch):
    scores, truth, seen = random_case()
    users = np.arange(50)
    first = rank(table(scores), users, truth, seen, k=10, threads=1)
    for threads, block in ((2, 64 << 20), (1, 800), (2, 3000), (3, 1)):
        monkeypatch.setattr("segue.numerics.ranks.BLOCK_BYTES", block)
        again = rank(table(scores), users, truth, seen, k=10, threads=threads)
        for name in ("users", "indptr", "positions", "middles", "eligible", "unknown", "top"):
            assert getattr(again, name).tobytes() == getattr(first, name).tobytes(), (name, threads, block)
    turned = rank(table(scores), users[::-1], truth, seen, k=10)
    assert turned.users.tolist() == first.users.tolist()[::-1]
    assert turned.top.tolist() == first.top.tolist()[::-1]
    forwards, backwards = (measure(ranks, ks=10).per_user["map@10"].tolist() for ranks in (first, turned))
    assert backwards == forwards[::-1]


def test_blocks_are_bounded_and_progress_is_told(monkeypatch):
    scores, truth, seen = random_case()
    monkeypatch.setattr("segue.numerics.ranks.BLOCK_BYTES", 200 * 4 * 7 + 3)
    asked, told = [], []

    def scorer(users):
        asked.append(users)
        return scores[users]

    ranks = rank(scorer, np.arange(50), truth, seen, k=5, progress=lambda *step: told.append(step))
    assert max(map(len, asked)) == 7
    assert np.concatenate(asked).tolist() == ranks.users.tolist()
    done = np.cumsum([len(users) for users in asked]).tolist()
    assert told == [("ranking", n, len(ranks.users)) for n in done]


def test_only_users_with_held_out_items_are_scored():
    asked = []

    def scorer(users):
        asked.extend(users.tolist())
        return np.zeros((len(users), 3), np.float32)

    # user 0 has nothing held out; all that user 2 has held out was seen
    ranks = rank(scorer, [0, 1, 2, 3], csr([[], [1], [0, 2], [0, 2]], 3), csr([[], [0], [0, 2], [2]], 3), k=1)
    assert asked == ranks.users.tolist() == [1, 3]
    assert ranks.positions.tolist() == [1, 1]


def test_scores_and_matrices_are_left_as_they_were():
    scores = random_case()[0][:2]
    ends = np.array([0, 3, 4])
    truth = sp.csr_matrix((np.ones(4), np.array([5, 2, 5, 0]), ends), (2, 200))  # unsorted, item 5 twice
    seen = sp.csr_matrix((np.ones(4), np.array([9, 2, 2, 1]), ends), (2, 200))
    before = scores.tobytes(), truth.indices.tobytes(), seen.indices.tobytes()
    ranks = rank(lambda _: scores, [0, 1], truth, seen, k=3)
    assert (scores.tobytes(), truth.indices.tobytes(), seen.indices.tobytes()) == before
    clean = rank(lambda _: scores, [0, 1], csr([[5], [0]], 200), csr([[2, 9], [1]], 200), k=3)
    assert ranks.positions.tolist() == clean.positions.tolist()
    assert ranks.eligible.tolist() == clean.eligible.tolist() == [198, 199]


def test_any_layout_of_scores_and_any_sparse_kind_will_do():
    scores, truth, seen = random_case()
    first = rank(table(scores), np.arange(50), truth, seen, k=5)
    turned = np.asfortranarray(scores)
    wide = sp.csr_array(truth)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    again = rank(lambda users: turned[users].copy("F"), np.arange(50), wide, seen.tocoo(), k=5)
    assert again.positions.tolist() == first.positions.tolist()
    popular = np.arange(200, dtype=np.float32)
    same_for_all = rank(lambda users: np.broadcast_to(popular, (len(users), 200)), np.arange(50), truth, k=5)
    assert same_for_all.top.tolist() == [[199, 198, 197, 196, 195]] * len(same_for_all.users)


def test_metrics_are_a_mapping_in_the_order_of_their_frame():
    scores, truth, seen = random_case()
    found = measure(rank(table(scores), np.arange(50), truth, seen, k=20), ks=(10, 5, 10))
    assert list(found) == [f"{m}@{k}" for m in PER_USER for k in (5, 10)] + [
        "auc",
        "coverage@5",
        "coverage@10",
    ]
    assert len(found) == 15
    assert dict(found)["ndcg@10"] == found["ndcg@10"]
    assert "ndcg@20" not in found
    assert set(found.per_user) == set(found) - {"coverage@5", "coverage@10"}
    assert repr(found).startswith(f"Metrics({found.users} users: precision@5=0.")
    frame = found.frame()
    assert frame.schema == {"metric": pl.String, "k": pl.Int64, "value": pl.Float64, "error": pl.Float64}
    names = [m if k is None else f"{m}@{k}" for m, k in frame.select("metric", "k").iter_rows()]
    assert names == list(found)
    assert frame["value"].to_list() == list(found.values())
    told = [None if m == "coverage" else found.errors[n] for m, n in zip(frame["metric"], names, strict=True)]
    assert frame["error"].to_list() == told


def test_the_paired_difference():
    scores, truth, seen = random_case()
    a = measure(rank(table(scores), np.arange(50), truth, seen, k=20))
    b = measure(rank(table(-scores), np.arange(50), truth, seen, k=20))
    gaps = a.per_user["ndcg@20"] - b.per_user["ndcg@20"]
    mean, error = difference(a, b, "ndcg@20")
    assert same(mean, a["ndcg@20"] - b["ndcg@20"])
    assert same(error, naive_mean(gaps.tolist())[1])
    assert error > 0
    assert difference(a, a, "auc") == (0.0, 0.0)


def test_a_difference_needs_the_same_users_and_a_metric_per_user():
    scores, truth, _ = random_case()
    a = measure(rank(table(scores), np.arange(50), truth, k=5), ks=5)
    b = measure(rank(table(scores), np.arange(49), truth, k=5), ks=5)
    with pytest.raises(DataError, match=f"the same order, but these are {a.users} and {b.users} users"):
        difference(a, b, "auc")
    with pytest.raises(
        SettingError, match=r"'coverage@5' is not measured per user in both; there are precision@5, "
    ):
        difference(a, a, "coverage@5")


@pytest.mark.parametrize(
    ("ks", "told"),
    [
        (0, "k=0 must"),
        ((5, -1), "k=-1 must"),
        (True, "k=True must"),
        ([np.True_], "k=.*True.* must"),
        ((5, 2.0), "k=2.0 must"),
        ("10", "k='10' must"),
        ((), "names no depth"),
        (None, "k=None must"),
    ],
)
def test_depths_that_are_none(ks, told):
    ranks = rank(table([[1, 2]]), [0], csr([[0]], 2), k=20)
    with pytest.raises(SettingError, match=told):
        measure(ranks, ks)


def test_depths_are_sorted_and_once_each():
    assert check_ks((20, np.int64(5), 20)) == (5, 20)
    assert check_ks(range(1, 4)) == (1, 2, 3)
    assert check_ks(7) == (7,)


def test_a_depth_beyond_the_ranks():
    ranks = rank(table([[1, 2]]), [0], csr([[0]], 2), k=4)
    with pytest.raises(SettingError, match="k=5 goes beyond these ranks, made with k=4"):
        measure(ranks, ks=(1, 5))
    with pytest.raises(SettingError, match="k=0 must be a whole number of at least 1"):
        rank(table([[1, 2]]), [0], csr([[0]], 2), k=0)


@pytest.mark.parametrize("place", [0, 7, 199])
def test_nan_scores_name_the_user_even_where_the_item_was_seen(place, monkeypatch):
    monkeypatch.setattr("segue.numerics.ranks.BLOCK_BYTES", 200 * 4 * 8)
    scores, truth, seen = random_case()
    bad = int(np.flatnonzero(np.diff(truth.indptr))[-1])
    scores[bad, place] = np.nan
    for masked in (seen, None, sp.csr_matrix(np.ones((50, 200)) * (np.arange(200) == place))):
        with pytest.raises(DataError, match=f"scores of user row {bad} hold NaN"):
            rank(table(scores), np.arange(50), truth, masked, k=5)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (np.zeros((1, 3), np.float32), r"must return \(2, 3\) float32.*not \(1, 3\) float32"),
        (np.zeros((3, 2), np.float32), r"not \(3, 2\) float32"),
        (np.zeros((2, 3)), r"not \(2, 3\) float64"),
    ],
)
def test_a_scorer_that_returns_something_else(made, told):
    with pytest.raises(DataError, match=told):
        rank(lambda _: made, [0, 1], csr([[0], [1]], 3), k=1)


@pytest.mark.parametrize(
    ("users", "more", "told"),
    [
        ([], {}, "nothing to measure: 0 users"),
        (
            [0],
            {"truth": sp.csr_matrix((2, 0))},
            r"nothing to measure: 1 users, and truth of shape \(2, 0\)",
        ),
        ([0, 2], {}, r"integers within 0\.\.1"),
        ([-1], {}, r"integers within 0\.\.1"),
        ([0.0], {}, "users must be rows"),
        ([True, False], {}, "users must be rows"),
        ([[0]], {}, "users must be rows"),
        (
            [0, 1],
            {"exclude": sp.csr_matrix((3, 2))},
            r"exclude \(3, 2\) and truth \(2, 3\) must both be users × items",
        ),
        ([0, 1], {"truth": sp.csr_matrix((2, 3))}, "no held-out item to find for any of the 2 users"),
        ([1], {"exclude": csr([[], [1]], 3)}, "no held-out item to find for any of the 1 users"),
        ([0, 1], {"unknown": [1]}, "unknown must count items for each of the 2 users"),
        ([0, 1], {"unknown": [1, -1]}, "unknown must count"),
        ([0, 1], {"unknown": [0.5, 1]}, "unknown must count"),
    ],
)
def test_what_cannot_be_measured(users, more, told):
    args = {"truth": csr([[0], [1]], 3), "k": 1} | more
    with pytest.raises(DataError, match=told):
        rank(table(np.zeros((2, 3))), users, **args)
