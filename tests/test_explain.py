"""Reasons: whatever earned a score, the shares add up to it."""

import json

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

import segue
from segue.cli import app
from segue.errors import DataError, SettingError, UnknownIdError
from segue.online import PROFILES, Profile, Space
from segue.online.averages import EMA, HalfLife, Neighbors, Recent
from segue.online.explanations import by_events
from segue.online.posterior import Posterior

MODELS = {
    "ials": segue.IALS(dim=8, iterations=4),
    "weighted ials": segue.IALS(dim=8, iterations=4, confidence="weights"),
    "item2vec": segue.Item2Vec(dim=8, epochs=2),
    "contrastive": segue.Contrastive(dim=8, epochs=2),
    "warp": segue.WARP(dim=8, epochs=2, threads=1),
}


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(80, 60, 2400, seed=1)


@pytest.fixture(scope="module", params=MODELS)
def trained(request, data):
    return segue.Recommender(MODELS[request.param]).fit(data)


def score(trained, user, item):
    return trained.predict(user, item)[0]


def test_the_shares_of_a_user_add_up_to_the_score(trained):
    for user in (1, 5):
        items = trained.recommend(user, k=3)["item_id"].to_list()
        shares = trained.explain(items, user=user, most=4)
        assert shares["item_id"].unique(maintain_order=True).to_list() == items
        for item in items:
            mine = shares.filter(pl.col("item_id") == item)
            assert mine["share"].sum() == pytest.approx(score(trained, user, item), abs=2e-5)
            assert (mine["reason"] == "pick").sum() == 4
            picked = mine.filter(pl.col("reason") == "pick")["value"].to_list()
            had = trained.histories(np.array([user - 1])).indices
            assert set(picked) <= set(trained.items.series.gather(had))


def test_the_shares_of_a_history_add_up_and_leave_no_rest_where_the_model_is_a_sum(trained):
    history = [3, 7, 11]
    found = trained.recommend_for(history, k=4)
    shares = trained.explain(found["item_id"].to_list(), history=history)
    sums = shares.group_by("item_id", maintain_order=True).agg(pl.col("share").sum())
    np.testing.assert_allclose(sums["share"], found["score"], atol=2e-5)
    rest = shares.filter(pl.col("reason") == "remainder")["share"].abs().max()
    if not isinstance(trained.settings.model, segue.WARP):
        assert rest < 2e-4
    assert "title" in shares.columns


def test_the_share_of_a_pick_is_what_the_formula_says(data):
    trained = segue.Recommender(segue.IALS(dim=8, iterations=4)).fit(data)
    model, items = trained.settings.model, trained.embeddings.items.astype(np.float64)
    picked = [2, 5, 9]
    lam = model.reg * (3 + model.unobserved_weight * len(items))
    a = model.unobserved_weight * items.T @ items + lam * np.eye(8) + items[picked].T @ items[picked]
    shares = trained.explain(21, history=[3, 6, 10])
    by_item = {row["value"]: row["share"] for row in shares.iter_rows(named=True)}
    for row in picked:
        assert by_item[row + 1] == pytest.approx(items[row] @ np.linalg.solve(a, items[20]), rel=1e-5)


@pytest.mark.parametrize("start", [None, np.arange(1.0, 8.0)], ids=["new", "started"])
@pytest.mark.parametrize(
    "kind",
    [
        EMA(),
        HalfLife(3.0),
        Recent(4, 2.0),
        Neighbors("mean", 3, Recent(9)),
        Posterior(),
        Posterior(5.0),
        Posterior(4.0, picks=2.0),
    ],
    ids=repr,
)
def test_the_shares_of_events_add_up_to_the_profiles_score(kind, start):
    rng = np.random.default_rng(0)
    space = Space(rng.standard_normal((40, 7)).astype(np.float32), model=segue.IALS(unobserved_weight=0.1))
    profile = Profile(kind, space)
    rows, weights, times = [1, 2, 3, 1, 9, 4], [1.0, 2.0, -1.0, 1.0, 0.5, 1.0], [0.0, 1.0, 2.0, 5.0, 3.0, 6.0]
    state = profile.update(profile.start(start), rows, weights, times)
    items = np.array([7, 8, 20])
    query = profile.vectors(state, 8.0).vectors[0]
    shares = by_events(profile, items, rows, weights, times, start=start, now=8.0)
    np.testing.assert_allclose(shares.parts.sum(1) + shares.remainder, space.items[items] @ query, rtol=1e-5)
    assert shares.parts.shape == (3, 6)
    if start is None:
        np.testing.assert_allclose(shares.remainder, 0, atol=1e-5)
    else:
        assert np.abs(shares.remainder).max() > 1e-3


def test_events_of_nothing_and_of_several_interests():
    space = Space(np.eye(4, dtype=np.float32))
    nothing = by_events(Profile("ema", space), np.array([0, 1]), [])
    assert nothing.parts.shape == (2, 0)
    assert not nothing.remainder.any()
    with pytest.raises(SettingError, match="has several queries, each of which is one pick"):
        by_events(Profile("interests", space), np.array([0]), [1, 2])
    assert "interests" in PROFILES


def test_the_shares_of_features_add_up_to_the_score():
    data = segue.data.simulate(80, 60, 2400, seed=1)
    genres = segue.Features.from_frame(data.item_metadata, ["genres"], ids=data.items)
    trained = segue.Recommender(segue.WARP(dim=8, epochs=2, threads=1)).fit(data, item_features=genres)
    shares = trained.explain([3, 4], user=7)
    for item in (3, 4):
        mine = shares.filter(pl.col("item_id") == item)
        assert mine["share"].sum() == pytest.approx(score(trained, 7, item), abs=1e-5)
        names = mine.filter(pl.col("reason") == "feature")["value"].to_list()
        assert f"id={item}" in names
        told = {f"genres={genre}" for genre in data.item_metadata["genres"][item - 1]}
        assert set(names) == told | {f"id={item}"}
    assert mine.filter(pl.col("reason") == "remainder")["share"][0] == pytest.approx(
        trained.embeddings.users[6, -2], abs=1e-5
    )


def test_explain_says_for_whom_and_what(trained):
    with pytest.raises(SettingError, match="explain takes either user= or history="):
        trained.explain(1)
    with pytest.raises(SettingError, match="explain takes either user= or history="):
        trained.explain(1, user=1, history=[2])
    with pytest.raises(UnknownIdError):
        trained.explain(999, user=1)
    with pytest.raises(UnknownIdError):
        trained.explain(1, history=[999])


class TestLists:
    """`explore=` and `diversify=` of the recommender."""

    def test_a_user_gets_the_same_whoever_else_is_asked_for(self, trained):
        for name in ("gumbel", "gaussian", "buckets", "reserved", "optimism"):
            every = trained.recommend([1, 2, 3], k=4, explore=name, seed=5)
            alone = trained.recommend(2, k=4, explore=name, seed=5)
            assert every.filter(pl.col("user_id") == 2).equals(alone)
            assert every["propensity"].is_between(0, 1).all()
            seen = trained.interactions[1].indices + 1
            assert not set(alone["item_id"]) & set(seen)

    def test_another_seed_gives_another_list_and_no_seed_the_same(self, trained):
        lists = {
            tuple(trained.recommend(1, k=5, explore="gumbel", seed=seed)["item_id"]) for seed in range(9)
        }
        assert len(lists) > 3
        plain = trained.recommend(1, k=5)
        assert "propensity" not in plain.columns

    def test_filters_hold(self, trained):
        found = trained.recommend_for([3, 7], k=5, explore="gumbel", allow=range(1, 20), exclude=[5], seed=1)
        assert set(found["item_id"]) <= set(range(1, 20)) - {3, 5, 7}
        assert found.height == 5

    def test_diversity_keeps_the_best_first(self, trained):
        plain = trained.recommend(1, k=5)
        for name in ("mmr", "dpp"):
            found = trained.recommend(1, k=5, diversify=name)
            assert found["item_id"][0] == plain["item_id"][0]
            assert found.columns == plain.columns

    def test_people_without_a_history_get_what_is_popular(self, trained):
        plain = trained.recommend(["nobody"], k=3, on_unknown="popular")
        explored = trained.recommend(["nobody"], k=3, on_unknown="popular", explore="gumbel")
        assert explored["item_id"].to_list() == plain["item_id"].to_list()
        assert explored["propensity"].to_list() == [1.0, 1.0, 1.0]

    def test_both_at_once_are_refused(self, trained):
        with pytest.raises(SettingError, match="explore= and diversify= exclude each other"):
            trained.recommend(1, explore="gumbel", diversify="mmr")
        with pytest.raises(SettingError, match="seed=-1 must be a whole number"):
            trained.recommend(1, explore="gumbel", seed=-1)

    def test_thompson_sampling_is_for_ials(self, trained):
        if isinstance(trained.settings.model, segue.IALS):
            lists = {
                tuple(trained.recommend(1, k=5, explore="thompson", seed=s)["item_id"]) for s in range(9)
            }
            assert len(lists) > 3
        else:
            with pytest.raises(SettingError, match="a posterior needs an iALS model"):
                trained.recommend(1, explore="thompson")


def test_features_without_metadata_cannot_be_explained():
    data = segue.read_interactions(sp.random(30, 20, 0.3, "csr", random_state=0))
    frame = pl.DataFrame({"genres": ["a", "b"] * 10})
    genres = segue.Features.from_frame(frame, ["genres"], ids=data.items)
    trained = segue.Recommender(segue.WARP(dim=4, epochs=1, threads=1)).fit(data, item_features=genres)
    with pytest.raises(DataError, match="there is no column 'genres'"):
        trained.explain(1, user=1)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    segue.Recommender(segue.IALS(dim=8, iterations=4)).fit(data).save(folder)
    return str(folder)


class TestCommandLine:
    """`segue recommend --explain`, `--explore` and `--diversify`."""

    def answers(self, *words):
        done = CliRunner().invoke(app, ["recommend", *words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    def test_reasons_are_those_of_the_library(self, folder):
        trained = segue.load(folder)
        rows = self.answers(folder, "--user", "1", "-k", "2", "--explain")["items"]
        assert rows == trained.recommend(1, k=2, explain=True).to_dicts()
        new = self.answers(folder, "--history", "3,7", "-k", "2", "--explain")["items"]
        assert new == trained.recommend_for([3, 7], 2, explain=True).to_dicts()
        popular = self.answers(folder, "--user", "999", "--on-unknown", "popular", "--explain", "-k", "1")[
            "items"
        ]
        assert popular[0]["reasons"] == []

    def test_in_a_terminal_each_reason_is_below_its_title(self, folder, monkeypatch):
        row = self.answers(folder, "--user", "1", "-k", "1", "--explain")["items"][0]
        first = row["reasons"][0]
        because = f"you liked {first['title']} {first['share']:+.2f}, "
        words = ["recommend", folder, "--user", "1", "-k", "1", "--explain"]
        monkeypatch.delenv("COLUMNS", raising=False)
        (line,) = CliRunner().invoke(app, words).output.splitlines()[1:]  # one line for programs
        assert because in line
        monkeypatch.setenv("COLUMNS", "400")
        item, reason = CliRunner().invoke(app, words).output.splitlines()[1:]
        assert item.rstrip().endswith(row["title"])
        assert reason.strip().startswith(f"because {because}")
        words = ["recommend", folder, "--user", "999", "-k", "1", "--on-unknown", "popular", "--explain"]
        assert CliRunner().invoke(app, words).output.splitlines()[2].strip() == "because it is popular"

    def test_what_was_left_to_chance_is_told(self, folder):
        told = self.answers(folder, "--user", "1", "-k", "3", "--explore", "gumbel", "--seed", "4")
        assert (told["explore"], told["seed"]) == ("gumbel", 4)
        expected = segue.load(folder).recommend(1, k=3, explore="gumbel", seed=4)
        assert told["items"] == expected.to_dicts()

    def test_diversity_is_that_of_the_library(self, folder):
        told = self.answers(folder, "--user", "1", "-k", "3", "--diversify", "dpp")
        assert told["items"] == segue.load(folder).recommend(1, k=3, diversify="dpp").to_dicts()
