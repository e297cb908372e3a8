"""Evaluation against code that follows the definitions user by user, the rows beside the model included."""

import dataclasses
import logging
import math

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

import segue
from segue.data import IdMap, Interactions, simulate
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError

DEPTHS = (1, 3, 10)


@pytest.fixture(scope="module")
def data():
    return simulate(60, 50, 1_500, seed=5)


@pytest.fixture(scope="module")
def by_chance(data):
    """A recommender and the fifth of the interactions that it has not seen."""
    train, test = data.split(test=0.2, by="random", seed=2)
    return segue.Recommender(segue.IALS(dim=6, iterations=3)).fit(train), test


@pytest.fixture(scope="module")
def strangers(data):
    """A recommender, and the histories and held-out interactions of users whom it has not seen."""
    train, held = data.split(test=0.3, by="users", seed=2)
    history, test = held.split(test=0.4, by="random", seed=2)
    return segue.Recommender(segue.IALS(dim=6, iterations=3)).fit(train), history, test


def sets_of(interactions):
    """Id of every user with interactions -> the ids of the items."""
    made = {}
    pairs = interactions.matrix.tocoo()
    for user, item in zip(pairs.row, pairs.col, strict=True):
        made.setdefault(interactions.users[user], set()).add(interactions.items[item])
    return made


def training_of(trained):
    return Interactions(trained.interactions, trained.users, trained.items)


def naive_popularity(trained):
    return np.array([(trained.interactions[:, item] != 0).sum() for item in range(len(trained.items))], float)


def naive_knn(trained, history, neighbors=100):
    """The cosines of each item's nearest others, summed over the items of a history (ids)."""
    users = [set(trained.interactions[:, item].nonzero()[0]) for item in range(len(trained.items))]
    n = len(users)
    scores = np.zeros(n)
    for one in trained.items.rows(sorted(history)):
        cosines = {
            other: len(users[one] & users[other]) / math.sqrt(len(users[one]) * len(users[other]))
            for other in range(n)
            if other != one and users[one] & users[other]
        }
        for other in sorted(cosines, key=lambda other: (-cosines[other], other))[:neighbors]:
            scores[other] += cosines[other]
    return scores


def naive(scores, held, missing, left_out, depths=DEPTHS):
    """The metrics of one user from float64 scores; `held` and `left_out` are rows, `missing` a count."""
    order = sorted((i for i in range(len(scores)) if i not in left_out), key=lambda i: (-scores[i], i))
    held = held - left_out
    relevant = len(held) + missing
    made = {}
    for k in depths:
        places = [place for place, item in enumerate(order[:k], 1) if item in held]
        made |= {
            f"precision@{k}": len(places) / k,
            f"recall@{k}": len(places) / relevant,
            f"ndcg@{k}": sum(1 / math.log2(place + 1) for place in places)
            / sum(1 / math.log2(place + 1) for place in range(1, min(k, relevant) + 1)),
            f"map@{k}": sum(nth / place for nth, place in enumerate(places, 1)) / min(k, relevant),
            f"mrr@{k}": 1 / places[0] if places else 0.0,
            f"hit_rate@{k}": float(bool(places)),
        }
    others = [item for item in order if item not in held]
    wins = [(scores[i] > scores[j]) + (scores[i] == scores[j]) / 2 for i in held for j in others]
    return made | {"auc": sum(wins) / len(wins) if wins else math.nan}, order


def naive_rows(trained, test, history=None, *, exclude_seen=True, fold=False):
    """Every row of the evaluation, user by user: name -> metric -> mean."""
    had, popular = sets_of(training_of(trained) if history is None else history), naive_popularity(trained)
    found = {"model": [], "popularity": [], "item-knn": []}
    listed = {name: {k: set() for k in DEPTHS} for name in found}
    vectors = trained.embeddings.items.astype(np.float64)
    for user, held in sorted(sets_of(test).items()):
        known = {item for item in had.get(user, ()) if item in trained.items}
        if not known or (history is None and user not in trained.users):
            continue
        rows = {int(row) for row in trained.items.rows(sorted(held)) if row >= 0}
        seen = {int(row) for row in trained.items.rows(sorted(known))}
        if fold:
            matrix = sp.csr_matrix(
                (np.ones(len(seen), np.float32), ([0] * len(seen), sorted(seen))), (1, len(vectors))
            )
            vector = trained.fold_in(matrix)[0]
        else:
            vector = trained.embeddings.users[trained.users.find(user)]
        left_out = seen if exclude_seen else set()
        missing = len(held) - len(rows)
        if not rows - left_out and not missing:
            continue
        for name, scores in (
            ("model", vectors @ vector),
            ("popularity", popular),
            ("item-knn", naive_knn(trained, known)),
        ):
            metrics, order = naive(scores, rows, missing, left_out)
            found[name].append(metrics)
            for k in DEPTHS:
                listed[name][k] |= set(order[:k])
    means = {}
    for name, users in found.items():
        means[name] = {metric: np.nanmean([one[metric] for one in users]) for metric in users[0]}
        means[name] |= {f"coverage@{k}": len(items) / len(vectors) for k, items in listed[name].items()}
    return means, len(found["model"])


def agree(result, wanted, users):
    assert list(result.rows) == ["model", "popularity", "item-knn"]
    for name, metrics in wanted.items():
        assert dict(result.rows[name]) == pytest.approx(metrics, rel=1e-9), name
        assert result.rows[name].users == users


def relabelled(interactions, users=None, items=None):
    """The same interactions under other ids."""
    return dataclasses.replace(
        interactions,
        users=interactions.users if users is None else IdMap(users, noun="user"),
        items=interactions.items if items is None else IdMap(items, noun="item"),
        item_metadata=None,
    )


def test_every_row_as_the_definitions_say(by_chance):
    trained, test = by_chance
    result = segue.evaluate(trained, test, DEPTHS)
    agree(result, *naive_rows(trained, test))
    assert result.left_out == 0
    assert result.model.users > 50


def test_the_protocol_of_lightfm_ranks_training_items_too(by_chance):
    trained, test = by_chance
    result = segue.evaluate(trained, test, DEPTHS, exclude_seen=False)
    wanted, users = naive_rows(trained, test, exclude_seen=False)
    agree(result, wanted, users)
    assert result["ndcg@10"] < segue.evaluate(trained, test, 10)["ndcg@10"]


def test_strong_generalisation_folds_histories_in(strangers):
    trained, history, test = strangers
    result = segue.evaluate(trained, test, DEPTHS, history=history)
    agree(result, *naive_rows(trained, test, history, fold=True))
    assert result.model.users == 18
    both = segue.evaluate(trained, test, DEPTHS, history=history, exclude_seen=False)
    agree(both, *naive_rows(trained, test, history, fold=True, exclude_seen=False))


def test_strangers_without_a_history_are_left_out(strangers, caplog):
    trained, history, test = strangers
    with pytest.raises(DataError, match="none of the 18 users of the test data has a history to recommend"):
        segue.evaluate(trained, test)
    first = np.flatnonzero(np.diff(history.matrix.indptr))[0]
    rows = np.repeat(np.arange(len(history.users)), np.diff(history.matrix.indptr))
    with caplog.at_level(logging.INFO, "segue"):
        result = segue.evaluate(trained, test, DEPTHS, history=history.where(rows != first))
    assert (result.left_out, result.model.users) == (1, 17)
    assert "1 of 18 test users have no history and are left out" in caplog.text


def test_unknown_users_and_items(by_chance):
    """Unknown users are left out and counted; unknown items are missed by everyone."""
    trained, test = by_chance
    users = [one if one % 7 else one + 1_000 for one in test.users.ids.tolist()]
    items = [one if one % 5 else one + 1_000 for one in test.items.ids.tolist()]
    other = relabelled(test, users, items)
    result = segue.evaluate(trained, other, DEPTHS)
    agree(result, *naive_rows(trained, other))
    unknown = [user for user in sets_of(other) if user > 1_000]
    assert result.left_out == len(unknown) > 0
    assert result["recall@10"] < segue.evaluate(trained, test, 10)["recall@10"]


def test_ids_of_the_other_kind_are_the_same(by_chance):
    trained, test = by_chance
    texts = relabelled(test, [str(one) for one in test.users.ids], [str(one) for one in test.items.ids])
    assert dict(segue.evaluate(trained, texts)) == dict(segue.evaluate(trained, test))


def test_rows_in_another_order_are_the_same(by_chance):
    """Test data from another file has its own rows; only ids tie it to the model."""
    trained, test = by_chance
    turned = Interactions(
        test.matrix[::-1, ::-1].sorted_indices(),
        IdMap(test.users.ids[::-1], noun="user"),
        IdMap(test.items.ids[::-1], noun="item"),
    )
    result, other = segue.evaluate(trained, test), segue.evaluate(trained, turned)
    assert dict(other) == pytest.approx(dict(result), rel=1e-12)


def test_ids_of_something_else(by_chance):
    trained, test = by_chance
    strange = relabelled(test, [f"s{one}" for one in test.users.ids])
    message = (
        r"none of the \d+ users of the test data has a history .* check that the ids are of the same kind"
    )
    with pytest.raises(DataError, match=message):
        segue.evaluate(trained, strange)


def test_nothing_but_seen_items(by_chance):
    trained, _ = by_chance
    seen = training_of(trained)
    with pytest.raises(DataError, match="no held-out item to find for any of the 60 users"):
        segue.evaluate(trained, seen)


def test_unknown_items_only(by_chance):
    trained, test = by_chance
    result = segue.evaluate(trained, relabelled(test, items=[one + 1_000 for one in test.items.ids]), 5)
    assert result["ndcg@5"] == result["hit_rate@5"] == 0
    assert math.isnan(result["auc"])


def test_the_rows_beside_the_model_can_be_chosen(by_chance):
    trained, test = by_chance
    whole = segue.evaluate(trained, test, 5)
    for chosen in ([], ["item-knn"], ("popularity", "item-knn")):
        result = segue.evaluate(trained, test, 5, baselines=chosen)
        assert list(result.beside) == list(chosen)
        assert {name: dict(row) for name, row in result.rows.items()} == {
            name: dict(whole.rows[name]) for name in ["model", *chosen]
        }
    with pytest.raises(
        SettingError, match="there is no baseline 'svd'; there are popularity, item-knn, ease"
    ):
        segue.evaluate(trained, test, baselines=["svd"])


@pytest.mark.parametrize("k", [0, -1, (5, 0), 2.5, (), "10"])
def test_depths_that_are_none(by_chance, k):
    trained, test = by_chance
    with pytest.raises(SettingError, match=r"k=.* must be a whole number of at least 1|k names no depth"):
        segue.evaluate(trained, test, k)


def test_depths_of_every_kind(by_chance):
    trained, test = by_chance
    one = segue.evaluate(trained, test, 7)
    assert [name for name in one if name.startswith("ndcg")] == ["ndcg@7"]
    for k in ([7], (7, 7), np.int64(7), iter([7])):
        assert dict(segue.evaluate(trained, test, k)) == dict(one)
    beyond = segue.evaluate(trained, test, 1_000)
    assert beyond["recall@1000"] == beyond["hit_rate@1000"] == 1.0


def test_what_it_is(by_chance):
    """A mapping of the model's metrics, and a frame of all rows."""
    trained, test = by_chance
    result = segue.evaluate(trained, test, (5, 10))
    assert result["ndcg@10"] == result.model["ndcg@10"] == dict(result)["ndcg@10"]
    assert len(result) == len(list(result)) == 15
    with pytest.raises(KeyError):
        result["ndcg@11"]
    frame = result.frame()
    assert frame.schema == {
        "model": pl.String, "metric": pl.String, "k": pl.Int64, "value": pl.Float64, "error": pl.Float64
    }  # fmt: skip
    assert frame["model"].unique(maintain_order=True).to_list() == ["model", "popularity", "item-knn"]
    row = frame.row(
        by_predicate=(pl.col("model") == "item-knn") & (pl.col("metric") == "ndcg") & (pl.col("k") == 10)
    )
    knn = result.beside["item-knn"]
    assert row[3:] == (knn["ndcg@10"], knn.errors["ndcg@10"])
    assert repr(result).startswith("Evaluation(Metrics(60 users: ")
    assert repr(result).endswith("beside popularity, item-knn)")


def test_progress_tells_of_all_rows(by_chance):
    trained, test = by_chance
    told = []
    segue.evaluate(trained, test, progress=lambda *args: told.append(args))
    assert {what for what, _, _ in told} == {
        "ranking (model)", "ranking (popularity)", "ranking (item-knn)", "finding similar items"
    }  # fmt: skip
    assert ("ranking (model)", 60, 60) in told


def test_a_saved_model_is_measured_alike(by_chance, strangers, tmp_path):
    trained, test = by_chance
    trained.save(tmp_path / "a")
    assert dict(segue.evaluate(segue.load(tmp_path / "a"), test)) == dict(segue.evaluate(trained, test))
    trained, history, test = strangers
    trained.save(tmp_path / "b")
    again = segue.evaluate(segue.load(tmp_path / "b"), test, history=history)
    assert dict(again) == dict(segue.evaluate(trained, test, history=history))


def test_what_is_recommended_is_what_is_measured(by_chance):
    """The precision of the lists that people get is the precision that is reported."""
    trained, test = by_chance
    held = sets_of(test)
    lists = trained.recommend(sorted(held), 5)
    hits = [item in held[user] for user, item in lists.select("user_id", "item_id").iter_rows()]
    assert segue.evaluate(trained, test, 5)["precision@5"] == pytest.approx(sum(hits) / (5 * len(held)))


def test_known_answer():
    """Two groups with two items each that nobody else has; the last user lacks one item of the group."""
    matrix = np.kron(np.eye(2), np.ones((4, 3)))
    held = np.zeros_like(matrix)
    held[3, 2] = held[7, 5] = 1
    trained = segue.Recommender(segue.IALS(dim=2, iterations=10)).fit(from_csr(matrix - held))
    result = segue.evaluate(trained, from_csr(held), 1)
    for metric in ("precision@1", "recall@1", "ndcg@1", "map@1", "mrr@1", "hit_rate@1", "auc"):
        assert result[metric] == 1.0
    assert result.model.users == 2
    assert result["coverage@1"] == 2 / 6
    assert result.beside["item-knn"]["ndcg@1"] == 1.0
    assert result.beside["popularity"]["ndcg@1"] == 0.0


@pytest.mark.parametrize("by", ["random", "time", "last"])
def test_on_simulated_data_the_model_beats_the_rows_beside_it(by):
    data = simulate(600, 800, 40_000, seed=0)
    train, test = data.split(by=by, seed=0)
    result = segue.evaluate(segue.Recommender(segue.IALS(dim=32)).fit(train), test, 10)
    ndcg = {name: row["ndcg@10"] for name, row in result.rows.items()}
    assert ndcg["model"] > 1.1 * ndcg["item-knn"]
    assert ndcg["item-knn"] > 1.05 * ndcg["popularity"]
    assert ndcg["popularity"] > 0.05


def test_ease_beside_the_model(by_chance, strangers):
    for (trained, *given), arguments in ((by_chance, {}), (strangers, {"history": strangers[1]})):
        test = given[-1]
        result = segue.evaluate(trained, test, 5, baselines=["ease"], **arguments)
        weights = segue.EASE().fit(training_of(trained)).matrix
        known, wanted = sets_of(arguments.get("history", training_of(trained))), sets_of(test)
        users = [user for user in test.users.ids if user in wanted and user in known]
        hits = []
        for user in users:
            had = trained.items.rows(pl.Series(sorted(known[user])))
            scores = weights[had].sum(0)
            scores[had] = -np.inf
            best = {trained.items[row] for row in np.argsort(-scores, kind="stable")[:5]}
            hits.append(len(best & wanted[user]) / 5)
        assert result.beside["ease"]["precision@5"] == pytest.approx(np.mean(hits), rel=1e-5)


@pytest.fixture(scope="module")
def rated():
    """A recommender that predicts ratings, and the fifth of them that it has not seen."""
    rng = np.random.default_rng(4)
    full = 3 + rng.normal(0, 0.5, 40)[:, None] + rng.normal(0, 0.5, 30)
    data = from_csr(full * (rng.random(full.shape) < 0.5))
    train, test = data.split(test=0.2, seed=1)
    return segue.Recommender(segue.BiasedMF(dim=2)).fit(train), test


class TestRatings:
    def test_against_the_definitions(self, rated):
        trained, test = rated
        pairs = test.matrix.tocoo()
        apart = [
            trained.embeddings.users[u] @ trained.embeddings.items[i] - r
            for u, i, r in zip(pairs.row, pairs.col, pairs.data, strict=True)
        ]
        found = segue.evaluate_ratings(trained, test)
        assert found.rmse == pytest.approx(np.sqrt(np.mean(np.square(apart))), rel=1e-5)
        assert found.mae == pytest.approx(np.mean(np.abs(apart)), rel=1e-5)
        assert (found.pairs, found.left_out) == (len(test), 0)
        assert found.mae < found.rmse < 0.6 * test.matrix.data.std()

    def test_what_the_model_does_not_know_is_left_out(self, rated):
        trained, test = rated
        pairs = test.matrix.tocoo()
        kept = (pairs.row >= 5) & (pairs.col >= 3)
        users = [one + (1000 if row < 5 else 0) for row, one in enumerate(test.users.ids)]
        items = [one + (1000 if row < 3 else 0) for row, one in enumerate(test.items.ids)]
        found = segue.evaluate_ratings(trained, relabelled(test, users=users, items=items))
        whole = segue.evaluate_ratings(trained, test.where(kept))
        assert found.rmse == pytest.approx(whole.rmse)
        assert (found.pairs, found.left_out) == (kept.sum(), (~kept).sum())
        nobody = relabelled(test, users=[one + 1000 for one in test.users.ids])
        with pytest.raises(DataError, match=rf"none of the {len(test)} held-out ratings is of a user and an"):
            segue.evaluate_ratings(trained, nobody)

    def test_histories_are_folded_in(self, rated):
        trained, test = rated
        known = segue.evaluate_ratings(trained, test)
        nobody = [one + 1000 for one in test.users.ids]
        history = relabelled(training_of(trained), users=nobody)
        folded = segue.evaluate_ratings(trained, relabelled(test, users=nobody), history=history)
        assert folded.rmse == pytest.approx(known.rmse, rel=0.02)
        assert folded.pairs == known.pairs

    def test_a_model_without_ratings(self, by_chance):
        with pytest.raises(SettingError, match=r"IALS\(.*\) predicts no ratings; fit a BiasedMF"):
            segue.evaluate_ratings(*by_chance)
