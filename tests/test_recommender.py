"""The recommender against brute force: what it promises to give, to leave out, to keep and to refuse."""

import dataclasses
import logging

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import segue
from segue import store
from segue.data import IdMap, simulate
from segue.data.assembly import from_frame
from segue.data.interactions import from_csr
from segue.errors import CorruptModelError, DataError, NotAModelError, SettingError, UnknownIdError
from segue.recommender import facade as module

USERS, ITEMS = 90, 70
STRANGER = 10_000  # no id of a user or an item


@pytest.fixture(scope="module")
def data():
    return simulate(USERS, ITEMS, 2_000, seed=3)


@pytest.fixture(scope="module")
def trained(data):
    return segue.Recommender(segue.IALS(dim=7, iterations=4)).fit(data)


@pytest.fixture(scope="module")
def newcomers(data):
    """Trained without what a fifth of the users did; also returns the rows of these users."""
    train, held = data.split(test=0.2, by="users", seed=1)
    made = segue.Recommender(segue.IALS(dim=7, iterations=4)).fit(train)
    return made, np.flatnonzero(np.diff(held.matrix.indptr))


@pytest.fixture(scope="module")
def texts(data):
    """The same interactions under ids that are text, and no metadata."""
    named = dataclasses.replace(
        data,
        users=IdMap([f"u{one}" for one in data.users.ids], noun="user"),
        items=IdMap([f"i,{one}" for one in data.items.ids], noun="item"),
        item_metadata=None,
    )
    return segue.Recommender(segue.IALS(dim=7, iterations=4)).fit(named)


@pytest.fixture(scope="module")
def kept(newcomers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "model"
    made = dataclasses.replace(newcomers[0], metrics={"ndcg@10": 0.25, "coverage@10": float("nan")})
    saved = made.save(folder)
    return saved, segue.load(folder), folder


@pytest.fixture(scope="module")
def parts(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trained.save(folder)
    stored = store.open_model(folder)
    return stored.arrays, stored.tables, stored.meta


def naive_order(scores, seen=(), exclude=(), allow=None):
    """The rows that may be given, the best first: score descending, then row ascending."""
    may = [row for row in range(len(scores)) if row not in seen and row not in exclude]
    if allow is not None:
        may = [row for row in may if row in allow]
    return sorted(may, key=lambda row: (-scores[row], row))


def scores_of(trained, row):
    return trained.embeddings.items.astype(np.float64) @ trained.embeddings.users[row].astype(np.float64)


def seen_by(trained, row):
    return set(trained.interactions[row].indices.tolist())


def users_of_items(trained):
    return np.asarray((trained.interactions != 0).sum(0)).ravel()


def items_of(frame, column="item_id"):
    return frame[column].to_list()


def naive_frame(trained, rows, k, exclude_seen=True, exclude=(), allow=None):
    """What `recommend` must return for user rows, put together row by row."""
    made = []
    for row in rows:
        scores = scores_of(trained, row)
        seen = seen_by(trained, row) if exclude_seen else ()
        for rank, item in enumerate(naive_order(scores, seen, exclude, allow)[:k], 1):
            title = trained.item_metadata["title"][item]
            made.append((trained.users[row], trained.items[item], scores[item], rank, title))
    columns = {
        "user_id": pl.Int64, "item_id": pl.Int64, "score": pl.Float32, "rank": pl.Int32, "title": pl.String
    }  # fmt: skip
    return pl.DataFrame(made, schema=columns, orient="row")


def same(got, wanted):
    """Equal frames, column types and order included; scores up to the rounding of float32 sums."""
    assert got.schema == wanted.schema
    assert_frame_equal(got.drop("score"), wanted.drop("score"))
    np.testing.assert_allclose(got["score"], wanted["score"], rtol=1e-5, atol=1e-6)


class TestRecommend:
    @pytest.mark.parametrize("k", [1, 5, ITEMS - 1, ITEMS, 10 * ITEMS])
    @pytest.mark.parametrize("exclude_seen", [True, False])
    def test_everybody_as_brute_force_says(self, trained, k, exclude_seen):
        found = trained.recommend(k=k, exclude_seen=exclude_seen)
        same(found, naive_frame(trained, range(USERS), k, exclude_seen))

    def test_seen_items_are_left_out_unless_asked_for(self, trained):
        had = {(u, i) for u in range(USERS) for i in seen_by(trained, u)}

        def given(frame):
            rows = trained.users.rows(frame["user_id"]), trained.items.rows(frame["item_id"])
            return set(zip(*rows, strict=True))

        assert not given(trained.recommend(k=ITEMS)) & had
        assert had <= given(trained.recommend(k=ITEMS, exclude_seen=False))

    @settings(max_examples=40, deadline=None)
    @given(
        users=st.lists(st.integers(1, USERS), min_size=1, max_size=20),
        k=st.integers(1, ITEMS + 5),
        exclude_seen=st.booleans(),
        exclude=st.sets(st.integers(-3, ITEMS + 3)),
        allow=st.none() | st.sets(st.integers(-3, ITEMS + 3)),
    )
    def test_filters_leave_as_many_as_there_are(self, trained, users, k, exclude_seen, exclude, allow):
        """Ids are rows + 1 here, and those below 1 and above ITEMS are unknown, which is no matter."""
        found = trained.recommend(users, k, exclude_seen=exclude_seen, exclude=exclude, allow=allow)
        rows = [one - 1 for one in users]
        without = {one - 1 for one in exclude}
        only = None if allow is None else {one - 1 for one in allow}
        same(found, naive_frame(trained, rows, k, exclude_seen, without, only))

    def test_one_user_many_users_and_all(self, trained):
        everyone = trained.recommend(k=3)
        assert everyone["user_id"].unique(maintain_order=True).to_list() == trained.users.series.to_list()
        for one in (1, "1", np.int32(1)):
            assert_frame_equal(trained.recommend(one, 3), everyone.filter(user_id=1))
        asked = [44, 2, 44]
        wanted = pl.concat(everyone.filter(user_id=one) for one in asked)
        kinds = (asked, tuple(asked), np.array(asked), pl.Series(asked), pd.Series(asked), iter(asked))
        for many in (*kinds, [str(one) for one in asked], np.array(asked).astype(str), [44, "2", 44]):
            assert_frame_equal(trained.recommend(many, 3), wanted)

    def test_many_ids_are_found_as_few_are(self, trained):
        """More than a handful of ids take another way."""
        asked = list(range(40, 0, -1))
        wanted = pl.concat(trained.recommend(one, 2) for one in asked)
        for many in (asked, np.array(asked), [str(one) for one in asked], pl.Series(asked, dtype=pl.Int8)):
            assert_frame_equal(trained.recommend(many, 2), wanted)

    def test_scores_are_inner_products(self, trained):
        found = trained.recommend(k=4)
        users = trained.embeddings.users[trained.users.rows(found["user_id"])]
        items = trained.embeddings.items[trained.items.rows(found["item_id"])]
        np.testing.assert_allclose(found["score"], (users * items).sum(1), rtol=1e-5, atol=1e-6)

    def test_nobody(self, trained):
        whole = trained.recommend(k=1).schema
        for nobody in ([], (), np.array([], np.int64), pl.Series([], dtype=pl.Int64)):
            found = trained.recommend(nobody)
            assert (found.height, found.schema) == (0, whole)

    def test_nothing_eligible(self, trained):
        found = trained.recommend([1, 2], allow=[])
        assert (found.height, found.schema) == (0, trained.recommend(1).schema)
        everything = trained.items.ids
        assert trained.recommend(1, exclude=everything).height == 0
        assert trained.recommend(1, allow=[STRANGER, "nonsense"]).height == 0

    def test_one_id_is_an_id_and_not_its_letters(self, texts):
        assert set(items_of(texts.recommend("u1", ITEMS, exclude_seen=False, allow="i,12"))) == {"i,12"}
        assert "i,12" not in items_of(texts.recommend("u1", ITEMS, exclude_seen=False, exclude="i,12"))

    def test_string_ids_and_no_titles(self, trained, texts):
        found, twin = texts.recommend(["u7", "u3"], 5), trained.recommend([7, 3], 5)
        assert found.schema == {
            "user_id": pl.String, "item_id": pl.String, "score": pl.Float32, "rank": pl.Int32
        }  # fmt: skip
        named = twin.with_columns(
            pl.format("u{}", "user_id").alias("user_id"), pl.format("i,{}", "item_id").alias("item_id")
        )
        assert_frame_equal(found, named.drop("title"))
        assert texts.titles(np.array([0])) is None

    @pytest.mark.parametrize("size", [1, 7, USERS - 1, USERS])
    def test_parts_are_the_whole(self, trained, monkeypatch, size):
        options = {"k": 4, "exclude": [1, 2], "on_unknown": "popular"}
        asked = [*range(1, USERS + 1), STRANGER]
        whole, everyone = trained.recommend(asked, **options), trained.recommend(**options)
        similar = trained.similar(k=3)
        told = []
        monkeypatch.setattr(module, "BATCH", size)
        parts = list(trained.recommend_in_parts(asked, **options, progress=lambda *args: told.append(args)))
        assert [part["user_id"].n_unique() for part in parts] == [
            min(size, len(asked) - first) for first in range(0, len(asked), size)
        ]
        assert_frame_equal(pl.concat(parts), whole)
        assert_frame_equal(trained.recommend(**options), everyone)
        assert_frame_equal(trained.similar(k=3), similar)
        firsts = list(range(0, len(asked), size))
        assert told == [("recommending", done, len(asked)) for done in [*firsts, len(asked)]]


class TestUnknownUsers:
    def test_raise_names_them(self, trained):
        with pytest.raises(UnknownIdError, match=r"unknown user: '10000', 'x'\. The model knows 90 users"):
            trained.recommend([1, STRANGER, "x"])
        with pytest.raises(UnknownIdError, match="unknown user: '07'"):
            trained.recommend("07")

    def test_skip_leaves_them_out(self, trained):
        asked = [STRANGER, 5, "nobody", 2]
        assert_frame_equal(trained.recommend(asked, 3, on_unknown="skip"), trained.recommend([5, 2], 3))
        nothing = trained.recommend([STRANGER], on_unknown="skip")
        assert (nothing.height, nothing.schema) == (0, trained.recommend(1).schema)

    @pytest.mark.parametrize("exclude", [(), (1, 2, 3)])
    def test_popular_gives_what_most_users_had(self, trained, exclude):
        found = trained.recommend([STRANGER, 5, -1], 6, on_unknown="popular", exclude=exclude)
        counts = users_of_items(trained)
        order = naive_order(counts, exclude={one - 1 for one in exclude})[:6]
        for one in (STRANGER, -1):
            theirs = found.filter(user_id=one)
            assert items_of(theirs) == [trained.items[row] for row in order]
            assert theirs["score"].to_list() == counts[order].tolist()
            assert theirs["rank"].to_list() == [1, 2, 3, 4, 5, 6]
        assert_frame_equal(found.filter(user_id=5), trained.recommend(5, 6, exclude=exclude))
        assert found["user_id"].unique(maintain_order=True).to_list() == [STRANGER, 5, -1]

    def test_ids_of_both_kinds_stay_as_they_were_asked(self, trained, texts):
        found = trained.recommend(["5", "nobody"], 2, on_unknown="popular")
        assert found["user_id"].to_list() == ["5", "5", "nobody", "nobody"]
        assert items_of(found)[:2] == items_of(trained.recommend(5, 2))
        assert texts.recommend(["u5", 7], 1, on_unknown="popular")["user_id"].to_list() == ["u5", "7"]
        assert texts.recommend([7], 1, on_unknown="popular")["user_id"].to_list() == ["7"]

    def test_policy_must_exist(self, trained):
        wanted = r"on_unknown='ignore' must be one of 'raise', 'skip', 'popular'"
        with pytest.raises(SettingError, match=wanted):
            trained.recommend(1, on_unknown="ignore")
        with pytest.raises(SettingError, match=wanted):
            trained.recommend_for([1], on_unknown="ignore")


class TestWithoutHistory:
    def test_users_get_what_is_popular(self, newcomers):
        trained, rows = newcomers
        counts = users_of_items(trained)
        order = naive_order(counts)[:5]
        assert len(rows) == 18
        found = trained.recommend(trained.users.ids[rows], 5)
        for _, theirs in found.group_by("user_id", maintain_order=True):
            assert items_of(theirs) == [trained.items[row] for row in order]
            assert theirs["score"].to_list() == counts[order].tolist()

    def test_others_beside_them_get_their_own(self, newcomers):
        trained, rows = newcomers
        everyone = trained.recommend(k=4)
        warm = np.setdiff1d(np.arange(USERS), rows)
        theirs = everyone.filter(pl.col("user_id").is_in(trained.users.ids[warm].tolist()))
        same(theirs, naive_frame(trained, warm, 4))
        assert everyone["user_id"].unique(maintain_order=True).to_list() == trained.users.series.to_list()


class TestRecommendFor:
    def test_what_is_folded_in_is_what_is_searched(self, trained):
        rows = [3, 11, 40]
        history = sp.csr_matrix((np.ones(3, np.float32), ([0, 0, 0], rows)), (1, ITEMS))
        scores = trained.embeddings.items @ trained.fold_in(history)[0]
        order = naive_order(scores, seen=rows)[:8]
        found = trained.recommend_for([trained.items[row] for row in rows], 8)
        assert found.schema == {
            "item_id": pl.Int64, "score": pl.Float32, "rank": pl.Int32, "title": pl.String
        }  # fmt: skip
        assert items_of(found) == [trained.items[row] for row in order]
        assert found["title"].to_list() == [trained.item_metadata["title"][row] for row in order]
        np.testing.assert_allclose(found["score"], scores[order], rtol=1e-5)

    def test_own_history_gives_about_what_training_gave(self, data):
        """The exact half step from the item vectors is where training converges to."""
        trained = segue.Recommender(segue.IALS(dim=5, iterations=60, solver="cholesky")).fit(data)
        mine = trained.recommend(9, 10)
        again = trained.recommend_for(trained.items.ids[trained.interactions[8].indices], 10)
        assert len(set(items_of(mine)) & set(items_of(again))) >= 9

    def test_list_mapping_and_other_kinds_agree(self, trained):
        wanted = trained.recommend_for([4, 12], 5)
        for history in (
            (4, 12),
            iter([12, 4]),
            ["4", "12"],
            np.array([4, 12]),
            pl.Series([4, 12]),
            {4: 1, 12: 3.5},
        ):
            same(trained.recommend_for(history, 5), wanted)
        for one in (4, "4", np.int64(4)):
            assert_frame_equal(trained.recommend_for(one, 5), trained.recommend_for([4], 5))

    def test_weights_count_where_the_model_takes_them(self, data):
        trained = segue.Recommender(segue.IALS(dim=7, iterations=4, confidence="weights")).fit(data)
        light, heavy = (trained.recommend_for({4: weight, 12: 1}, 5) for weight in (0.1, 50))
        assert light["score"].to_list() != heavy["score"].to_list()
        near = np.argsort(-(trained.embeddings.items @ trained.embeddings.items[3]))
        nearest = [trained.items[row] for row in near if row not in (3, 11)][:12]
        assert len(set(items_of(heavy)) & set(nearest)) > len(set(items_of(light)) & set(nearest))

    def test_weight_zero_is_no_history(self, trained):
        same(
            trained.recommend_for({4: 1, 12: 0}, 5, exclude=[12]), trained.recommend_for([4], 5, exclude=[12])
        )
        assert 12 in items_of(trained.recommend_for({4: 1, 12: 0}, ITEMS))

    @pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "2", None])
    def test_weights_that_are_none(self, trained, weight):
        message = rf"the weight of item 12 in the history is {weight!r}; weights must be finite numbers"
        with pytest.raises(DataError, match=message):
            trained.recommend_for({4: 1, 12: weight})

    def test_history_is_left_out_unless_asked_for(self, trained):
        assert not {4, 12} & set(items_of(trained.recommend_for([4, 12], ITEMS)))
        assert {4, 12} <= set(items_of(trained.recommend_for([4, 12], ITEMS, exclude_seen=False)))

    def test_filters(self, trained):
        assert items_of(trained.recommend_for([4], ITEMS, allow=[4, 9, 30, STRANGER], exclude=[9])) == [30]

    @pytest.mark.parametrize("nothing", [[], {}, (), {4: 0.0}])
    def test_empty_history_gets_what_is_popular(self, trained, nothing):
        counts = users_of_items(trained)
        order = naive_order(counts)[:7]
        found = trained.recommend_for(nothing, 7)
        assert items_of(found) == [trained.items[row] for row in order]
        assert found["score"].to_list() == counts[order].tolist()

    def test_items_that_nobody_had_say_nothing(self):
        """Such an item has no vector; who had it alone gets what is popular, but not that item."""
        matrix = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0]], np.float32)
        trained = segue.Recommender(segue.IALS(dim=2)).fit(from_csr(matrix))
        assert items_of(trained.recommend_for([3])) == [0, 1, 2]
        assert items_of(trained.recommend_for([3], exclude_seen=False)) == [0, 1, 2, 3]

    def test_unknown_items(self, trained):
        with pytest.raises(
            UnknownIdError, match=r"unknown item: 10000\. The model knows 70 items, such as 1, 2, 3"
        ):
            trained.recommend_for([4, STRANGER])
        for policy in ("skip", "popular"):
            same(trained.recommend_for({4: 1, STRANGER: 2}, on_unknown=policy), trained.recommend_for([4]))
            same(trained.recommend_for([STRANGER], on_unknown=policy), trained.recommend_for([]))


class TestSimilar:
    @pytest.mark.parametrize("k", [1, 5, ITEMS - 1, 2 * ITEMS])
    def test_all_items_as_brute_force_says(self, trained, k):
        vectors = trained.embeddings.items.astype(np.float64)
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        made = []
        for row, cosines in enumerate(unit @ unit.T):
            for rank, other in enumerate(naive_order(cosines, seen={row})[:k], 1):
                title = trained.item_metadata["title"][other]
                made.append((trained.items[row], trained.items[other], cosines[other], rank, title))
        columns = {
            "item_id": pl.Int64, "neighbor_id": pl.Int64, "score": pl.Float32, "rank": pl.Int32,
            "title": pl.String,
        }  # fmt: skip
        same(trained.similar(k=k), pl.DataFrame(made, schema=columns, orient="row"))

    def test_never_itself_whatever_the_filters(self, trained):
        found = trained.similar([4, 9], ITEMS, allow=[4, 9, 30], exclude=[30])
        assert found.select("item_id", "neighbor_id").rows() == [(4, 9), (9, 4)]
        assert trained.similar(4, allow=[4]).height == 0
        assert trained.similar([]).schema == trained.similar(1).schema

    def test_twins_find_each_other(self):
        """Items 0 and 1 have the same users, and no one else's."""
        matrix = sp.csr_matrix(np.kron(np.eye(4), np.ones((5, 2))).astype(np.float32))
        trained = segue.Recommender(segue.IALS(dim=4, iterations=10)).fit(from_csr(matrix))
        found = trained.similar(k=1)
        assert found["neighbor_id"].to_list() == [1, 0, 3, 2, 5, 4, 7, 6]
        np.testing.assert_allclose(found["score"], 1, atol=1e-4)

    def test_one_and_many(self, trained, texts):
        both = trained.similar([30, 4], 3)
        assert_frame_equal(both, pl.concat([trained.similar("30", 3), trained.similar(np.int64(4), 3)]))
        assert items_of(texts.similar("i,4", 3), "neighbor_id") == [
            f"i,{one}" for one in items_of(trained.similar(4, 3), "neighbor_id")
        ]

    def test_unknown(self, trained):
        with pytest.raises(UnknownIdError, match="unknown item: 'Heat'"):
            trained.similar(["4", "Heat"])


class TestPopularityModel:
    def test_the_same_for_everyone(self, data):
        trained = segue.Recommender("popularity").fit(data)
        counts = users_of_items(trained)
        order = naive_order(counts)[:5]
        for found in (trained.recommend(1, 5, exclude_seen=False), trained.recommend_for([], 5)):
            assert items_of(found) == [trained.items[row] for row in order]
            assert found["score"].to_list() == counts[order].tolist()
        assert items_of(trained.recommend(2, 5)) == [
            trained.items[row] for row in naive_order(counts, seen=seen_by(trained, 1))[:5]
        ]


class TestSaveAndLoad:
    def test_the_same_answers(self, kept):
        saved, loaded, _ = kept
        asked = [*range(1, 20), STRANGER, "x"]
        for question in (
            lambda one: one.recommend(k=7),
            lambda one: one.recommend(
                asked, 7, exclude_seen=False, on_unknown="popular", exclude=[3], allow=range(40)
            ),
            lambda one: one.recommend_for({3: 1.0, 9: 2.0}, 7),
            lambda one: one.recommend_for([], 7),
            lambda one: one.similar(k=4),
        ):
            assert_frame_equal(question(loaded), question(saved), check_exact=True)

    def test_what_is_kept(self, kept, newcomers):
        saved, loaded, folder = kept
        assert loaded.version == saved.version == store.current_version(folder)
        assert newcomers[0].version is None, "saving must not change what was saved"
        assert loaded.settings == saved.settings == newcomers[0].settings
        assert loaded.settings.model.unobserved_weight is not None
        assert loaded.metrics == {"ndcg@10": 0.25}, "what is not finite is not kept"
        assert loaded.users == saved.users
        assert loaded.items == saved.items
        assert_frame_equal(loaded.item_metadata, saved.item_metadata)
        assert (loaded.interactions != saved.interactions).nnz == 0
        np.testing.assert_array_equal(loaded.embeddings.users, saved.embeddings.users)
        assert not loaded.embeddings.items.flags.writeable
        assert np.shares_memory(loaded.index.index.vectors, loaded.embeddings.items), "kept once"
        assert repr(loaded) == repr(saved)
        assert "90 users, 70 items, version=000001-" in repr(loaded)

    def test_string_ids_and_other_settings(self, texts, tmp_path):
        made = segue.Recommender(texts.settings.model, segue.Exact("cosine"))
        made = dataclasses.replace(texts, settings=made, index=made.index.build(texts.embeddings.items))
        made.save(tmp_path / "model")
        loaded = segue.load(tmp_path / "model")
        assert loaded.settings.index == segue.Exact("cosine")
        assert loaded.item_metadata is None
        assert_frame_equal(loaded.recommend(k=3), made.recommend(k=3), check_exact=True)

    def test_popularity(self, data, tmp_path):
        made = segue.Recommender("popularity").fit(data).save(tmp_path / "model")
        assert_frame_equal(
            segue.load(tmp_path / "model").recommend(k=3), made.recommend(k=3), check_exact=True
        )

    def test_a_second_version(self, texts, trained, tmp_path):
        first = texts.save(tmp_path)
        second = trained.save(tmp_path)
        assert first.version < second.version == segue.load(tmp_path).version
        assert_frame_equal(segue.load(tmp_path).recommend(k=3), trained.recommend(k=3), check_exact=True)

    def test_no_model(self, tmp_path):
        with pytest.raises(NotAModelError, match="does not exist; name the folder of a saved model"):
            segue.load(tmp_path / "nowhere")


class TestForeignFolders:
    """Folders that are whole, but hold what no recommender wrote."""

    @pytest.fixture
    def reopened(self, parts, tmp_path):
        """Write the parts changed, and load them."""

        def write(arrays=None, tables=None, meta=None, drop=()):
            changed = [
                {name: value for name, value in (old | (new or {})).items() if name not in drop}
                for old, new in zip(parts, (arrays, tables, meta), strict=True)
            ]
            store.write(tmp_path, *changed)
            return segue.load(tmp_path)

        return write

    def test_unchanged(self, reopened, trained):
        assert_frame_equal(reopened().recommend(k=3), trained.recommend(k=3), check_exact=True)

    @pytest.mark.parametrize(
        "meta",
        [
            {"model": "ials"},
            {"model": {"name": "mf", "settings": {}}},
            {"model": {"name": "ials", "settings": {"dims": 3}}},
            {"model": {"name": "ials", "settings": {"dim": "3"}}},
            {"model": None},
            {"index": {"name": "exact", "settings": {"metric": "taxicab"}}},
            {"index": {"name": "exact"}},
            {"index_arrays": {}},
            {"index_arrays": []},
            {"index_arrays": {"vectors": "nothing"}},
        ],
        ids=str,
    )
    def test_wrong_settings(self, reopened, meta):
        with pytest.raises(CorruptModelError, match="is not a recommender of this release"):
            reopened(meta=meta)

    @pytest.mark.parametrize(
        "part",
        [
            "model",
            "index",
            "index_arrays",
            "metrics",
            "users",
            "items",
            "interactions.data",
            "interactions.indptr",
        ],
    )
    def test_missing_parts(self, reopened, part):
        with pytest.raises(CorruptModelError, match="is not a recommender of this release"):
            reopened(drop=[part])

    def test_parts_that_do_not_fit(self, reopened, trained):
        vectors = trained.embeddings
        for arrays in (
            {"users": vectors.users[:-1]},
            {"items": vectors.items[:-1]},
            {"users": vectors.items, "items": vectors.users},
            {"users": vectors.users[:, :-1].copy()},
            {"users": vectors.users.astype(np.float64)},
            {"interactions.indptr": trained.interactions.indptr[:-1]},
        ):
            with pytest.raises(CorruptModelError, match="is not a recommender of this release"):
                reopened(arrays=arrays)
        with pytest.raises(CorruptModelError, match="is not a recommender of this release"):
            reopened(tables={"users": pl.DataFrame({"name": trained.users.series})})

    def test_seen_items_out_of_bounds(self, reopened, trained):
        outside = trained.interactions.indices.copy()
        outside[0] = ITEMS
        with pytest.raises(DataError, match=r"exclude names items outside 0\.\.69"):
            reopened(arrays={"interactions.indices": outside}).recommend(1)
        starts = trained.interactions.indptr.copy()
        starts[2] = trained.interactions.nnz + 1
        with pytest.raises(CorruptModelError, match="the table of interactions is damaged"):
            reopened(arrays={"interactions.indptr": starts}).recommend([2, 5])


class TestHistory:
    def test_rows_in_any_order(self, trained):
        for rows in ([5, 0, 5], [], range(USERS), [USERS - 1]):
            rows = np.array(rows, np.int32)
            found = trained.histories(rows)
            assert found.shape == (len(rows), ITEMS)
            assert (found != trained.interactions[rows]).nnz == 0


class TestRefused:
    @pytest.mark.parametrize("k", [0, -1, 2.0, True, "5", None])
    def test_k(self, trained, k):
        for ask in (trained.recommend, trained.similar, trained.recommend_for):
            with pytest.raises(SettingError, match=rf"k={k!r} must be a whole number of at least 1"):
                ask([1], k=k)

    def test_names(self):
        with pytest.raises(
            SettingError,
            match="there is no model 'mf'; there are als, biasedmf, blend, bpr, contrastive, ials",
        ):
            segue.Recommender("mf")
        with pytest.raises(SettingError, match="there is no index 'fast'; there are auto, exact"):
            segue.Recommender(index="fast")
        with pytest.raises(
            SettingError, match=r"ItemKNN\(.*\) cannot be served; use one of als, biasedmf, .*, warp"
        ):
            segue.Recommender(segue.ItemKNN())
        with pytest.raises(
            SettingError, match=r"is no index; give one of auto, exact, .* by name or its settings"
        ):
            segue.Recommender(index=segue.IALS())

    def test_names_of_either_case_and_settings(self):
        assert segue.Recommender("IALS", "Exact") == segue.Recommender(segue.IALS(), segue.Exact())
        assert segue.Recommender() == segue.Recommender("ials", "auto")

    @pytest.mark.parametrize("shape", [(1, 4), (4, 1)])
    def test_a_single_user_or_item(self, shape):
        with pytest.raises(
            DataError, match=rf"{shape[0]} user\(s\) and {shape[1]} item\(s\) leave nothing to learn"
        ):
            segue.Recommender().fit(from_csr(np.ones(shape, np.float32)))

    def test_negative_weights(self):
        frame = pl.DataFrame({"user": ["a", "a", "b"], "item": ["x", "y", "x"], "weight": [1.0, -2.0, 1.0]})
        message = r"user 'a' and item 'y' have -2\.0; leave such rows out \(min_weight=\)"
        with pytest.raises(DataError, match=message):
            segue.Recommender().fit(from_frame(frame))

    def test_single_user_or_item_of_popularity_needs_no_neighbours(self):
        trained = segue.Recommender("popularity").fit(from_csr(np.ones((1, 3), np.float32)))
        assert items_of(trained.recommend(0, exclude_seen=False)) == [0, 1, 2]


def test_fit_tells_its_progress_and_says_nothing_else(data, caplog, capsys):
    told = []
    with caplog.at_level(logging.DEBUG, "segue"):
        segue.Recommender(segue.IALS(dim=2, iterations=3)).fit(data, progress=lambda *args: told.append(args))
    assert told == [
        *(("training", done, 3) for done in range(4)),
        *(("indexing", done, len(data.items)) for done in (0, len(data.items))),
    ]
    assert capsys.readouterr() == ("", "")
