"""Train-test splits, compared with naive code and known answers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from interactions import EXAMPLE, as_dict, check_matrix, frame, times_of
from segue.data.assembly import from_frame
from segue.data.interactions import from_csr
from segue.errors import DataError, SettingError


def many(users=40, items=30, seed=0):
    rng = np.random.default_rng(seed)
    cells = rng.choice(users * items, users * items // 3, replace=False)
    table = pl.DataFrame(
        {"user": cells // items, "item": cells % items, "time": rng.integers(0, 99, len(cells))}
    )
    return from_frame(table)


BY = {"random": 0.3, "time": 0.3, "last": 2, "users": 0.3}


@pytest.mark.parametrize("by", BY)
def test_splits_are_partitions_and_repeatable(by):
    data = many()
    train, test = data.split(test=BY[by], by=by, seed=3)
    assert as_dict(train).keys() | as_dict(test).keys() == as_dict(data).keys()
    assert not as_dict(train).keys() & as_dict(test).keys()
    assert times_of(train) | times_of(test) == times_of(data)
    for side in (train, test):
        assert side.users == data.users
        assert side.items == data.items
        check_matrix(side)
    again = data.split(test=BY[by], by=by, seed=3)[1]
    assert as_dict(again) == as_dict(test)
    other = data.split(test=BY[by], by=by, seed=4)[1]
    assert (as_dict(other) == as_dict(test)) == (by in ("time", "last"))  # only these need no luck
    assert as_dict(data.split(by=by)[1]) == as_dict(
        data.split(test=1 if by == "last" else 0.2, by=by, seed=0)[1]
    )


def test_random_split_holds_out_its_share():
    data = many()
    for share in (0.1, 0.25, 0.5):
        test = data.split(test=share, by="random", seed=1)[1]
        assert len(test) == len(data) - int((1 - share) * len(data))
    # each entry alike: over many seeds every one is in the test side about as often
    often = sum(
        data.split(test=0.5, seed=seed)[1].matrix.astype(bool).astype(int) for seed in range(200)
    ).data
    assert len(often) == len(data)
    assert 60 < often.min() <= often.max() < 140


def test_time_split_has_one_boundary():
    data = many()
    train, test = data.split(test=0.3, by="time")
    assert train.times.max() < test.times.min()
    assert 0.6 * len(data) < len(train) <= len(data)
    known = from_frame(frame([(1, item, item) for item in range(10)], "time"))
    assert sorted(known.split(test=0.2, by="time")[1].times) == [8, 9]
    ties = from_frame(frame([(1, item, min(item, 5)) for item in range(10)], "time"))
    assert sorted(ties.split(test=0.2, by="time")[1].times) == [5] * 5  # no moment lies within a tie


def test_last_split_holds_out_the_end_of_each_user():
    train, test = EXAMPLE.split(by="last")
    assert set(as_dict(test)) == {("u1", "b"), ("u2", "a")}  # u3 has but one, which stays for training
    assert set(as_dict(EXAMPLE.split(test=2, by="last")[1])) == {("u1", "b"), ("u1", "c"), ("u2", "a")}
    assert set(as_dict(EXAMPLE.split(test=9, by="last")[0])) == {("u1", "a"), ("u2", "b"), ("u3", "d")}
    assert set(as_dict(EXAMPLE.split(test=0.7, by="last")[1])) == {("u1", "b"), ("u1", "c"), ("u2", "a")}
    ties = from_frame(frame([(1, item, 5) for item in "cab"], "time"))
    assert set(as_dict(ties.split(by="last")[1])) == {(1, "c")}
    assert np.diff(train.matrix.indptr).min() >= 1


@pytest.mark.parametrize("wanted", [1, 3, 0.25, 0.5])
def test_last_split_equals_naive_sorting(wanted):
    data = many(seed=5)
    expected = set()
    for user in data.users.ids:
        own = sorted((moment, item) for (one, item), moment in times_of(data).items() if one == user)
        count = int(wanted * len(own)) if wanted < 1 else wanted
        count = min(max(count, 1), len(own) - 1)
        expected |= {(user, item) for _, item in own[len(own) - count :]}
    assert set(as_dict(data.split(test=wanted, by="last")[1])) == expected


def test_users_split_holds_out_whole_users():
    data = many()
    train, test = data.split(test=0.25, by="users", seed=2)
    trained, tested = (np.diff(side.matrix.indptr) > 0 for side in (train, test))
    assert not (trained & tested).any()
    assert tested.sum() == 10
    fold_in, hidden = test.split(test=0.5, by="random", seed=0)
    assert len(fold_in) + len(hidden) == len(test)
    idle = sp.vstack([sp.csr_matrix((50, 3)), sp.eye(3)]).tocsr()  # users without anything are not drawn
    for seed in range(5):
        assert len(from_csr(idle).split(test=0.34, by="users", seed=seed)[1]) == 1


def test_invalid_splits():
    with pytest.raises(
        SettingError, match="by='date' is not a split; choose one of 'random', 'time', 'last', 'users'"
    ):
        EXAMPLE.split(by="date")
    for by in ("random", "time", "users"):
        for share in (0, 1, 1.5, -0.1):
            with pytest.raises(SettingError, match="must be a share between 0 and 1"):
                EXAMPLE.split(test=share, by=by)
    for wanted in (0, -1, 1.5):
        with pytest.raises(
            SettingError, match=f"test={wanted} for by='last' must be a share below 1 or a whole"
        ):
            EXAMPLE.split(test=wanted, by="last")
    timeless = from_csr(sp.csr_matrix(np.ones((2, 2))))
    for by in ("time", "last"):
        with pytest.raises(DataError, match="read the data with a time column"):
            timeless.split(by=by)
    one = from_frame(frame([(1, 1, 5)], "time"))
    for by, side in (("random", "training"), ("time", "training"), ("last", "test"), ("users", "training")):
        with pytest.raises(DataError, match=f"leaves the {side} side empty"):
            one.split(by=by)
    same = from_frame(frame([(1, 1, 5), (1, 2, 5)], "time"))
    with pytest.raises(DataError, match="all have the same time"):
        same.split(by="time")
