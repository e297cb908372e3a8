"""The HTTP service: its lists against those of the library, events, filters, API keys, limits."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import segue
from segue.cli import app
from segue.online import Profile
from segue.serve import Client, ServiceError
from segue.serve.fast_path import valid_events
from segue.serve.schemas import EventBody
from segue.serve.service.user_state import UserCache
from segue.serve.settings import Limits, Settings
from serving import POOL, free_port, serving

USERS, ITEMS = 60, 90


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(USERS, ITEMS, 1500, seed=3)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "model"
    features = segue.Features.from_frame(data.item_metadata, ["genres"], ids=data.items)
    of_users = pl.DataFrame({"id": data.users.ids, "group": [str(one % 3) for one in data.users.ids]})
    users = segue.Features.from_frame(of_users, ["group"], ids=data.users, id="id")
    model = segue.WARP(dim=8, epochs=3, threads=1)
    segue.Recommender(model).fit(data, item_features=features, user_features=users).save(folder)
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return segue.load(folder)


@pytest.fixture
def settings(folder, tmp_path):
    return Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")


@pytest.fixture(scope="module")
def server(folder):
    """A service that tests share; each test has its own users."""
    with serving(Settings(str(folder), f"sqlite:///{folder.parent}/events.sqlite")) as server:
        yield server


@pytest.fixture
def fresh(settings):
    with serving(settings) as server:
        yield server


def listed(answer):
    return [one["item_id"] for one in answer["items"]]


def rows(frame):
    return [(one["item_id"], one["rank"], one["title"]) for one in frame.iter_rows(named=True)]


def summaries(answer):
    return [(one["item_id"], one["rank"], one["title"]) for one in answer["items"]]


def test_lists_equal_those_of_the_library(server, trained):
    for user in trained.users.ids[:10].tolist():
        answer = server.get(f"/v1/recommend/{user}?k=7")
        frame = trained.recommend(user, 7)
        assert (answer["model_version"], answer["source"]) == (trained.version, "trained")
        assert summaries(answer) == rows(frame)
        np.testing.assert_allclose([one["score"] for one in answer["items"]], frame["score"], rtol=1e-6)
    many = server.post("/v1/recommend", {"users": [1, "2", "nobody"], "k": 4, "exclude_seen": False})
    assert [one["user_id"] for one in many["users"]] == ["1", "2", "nobody"]
    assert [summaries(one) for one in many["users"][:2]] == [
        rows(trained.recommend(one, 4, exclude_seen=False)) for one in (1, 2)
    ]
    assert (
        listed(many["users"][2]) == trained.recommend("nobody", 4, on_unknown="popular")["item_id"].to_list()
    )
    history = trained.items.ids[:3].tolist()
    assert summaries(server.post("/v1/recommend", {"history": history, "k": 5})) == rows(
        trained.recommend_for(history, 5)
    )
    weighted = {str(history[0]): 2.0, str(history[1]): 0.5, "unheard of": 1.0}
    assert summaries(server.post("/v1/recommend", {"history": weighted, "k": 5})) == rows(
        trained.recommend_for({history[0]: 2.0, history[1]: 0.5}, 5)
    )
    features = server.post("/v1/recommend", {"features": {"group": "1"}, "k": 5})
    assert features["source"] == "features"
    assert summaries(features) == rows(trained.recommend_for(features={"group": "1"}, k=5))
    vector = trained.embeddings.users[4].tolist()
    found = trained.ranker.top(np.array([vector], np.float32), 5).ids[0]
    assert (
        listed(server.post("/v1/recommend", {"vector": vector, "k": 5})) == trained.items.ids[found].tolist()
    )
    similar = server.get(f"/v1/similar/{history[0]}?k=6&exclude={history[1]}")
    assert listed(similar) == trained.similar(history[0], 6, exclude=[history[1]])["neighbor_id"].to_list()


def test_the_fast_path_returns_what_the_route_returns(server, trained):
    for user in [*trained.users.ids[:20].tolist(), "nobody", "a.b:c@d-e_f", "é"]:
        short = server.get(f"/v1/recommend/{user}?k=9")
        assert short == server.get(f"/v1/recommend/{user}?k=9&exclude_seen=true")
    assert len(listed(server.get("/v1/recommend/1"))) == 10
    for query in ("k=0", "k=1001", "k=x", "k=-1", "k=1&k=x", "k=0x1"):
        status, problem = server.call("GET", f"/v1/recommend/1?{query}")
        assert (status, problem["title"]) == (422, "Unprocessable Entity"), query
    assert len(listed(server.get("/v1/recommend/1?k=1000&exclude_seen=false"))) == ITEMS


def test_filters(server, trained, data):
    table = data.item_metadata.with_columns(pl.Series("item_id", data.items.ids))
    genre = table["genres"][0][0]
    has = set(table.filter(pl.col("genres").list.contains(genre))["item_id"])
    late = set(table.filter(pl.col("year") >= 1990)["item_id"])
    every = "/v1/recommend/1?k=1000&exclude_seen=false"
    assert set(listed(server.get(f"{every}&where=genres={genre}"))) == has
    assert set(listed(server.get(f"{every}&where=genres!={genre}"))) == set(table["item_id"]) - has
    assert set(listed(server.get(f"{every}&where=genres={genre}&where=year>=1990"))) == has & late
    assert set(listed(server.get(f"{every}&where=year<1990"))) == set(table["item_id"]) - late
    year = table["year"][0]
    assert set(listed(server.get(f"{every}&where=year={year}|1"))) == set(
        table.filter(pl.col("year") == year)["item_id"]
    )
    few = sorted(has)[:3]
    query = "&".join(f"allow={one}" for one in [*few, "unheard"])
    assert set(listed(server.get(f"{every}&{query}"))) == set(few)
    assert set(listed(server.get(f"{every}&{query}&exclude={few[0]}"))) == set(few[1:])
    posted = {"users": [1], "k": 1000, "exclude_seen": False, "allow": few, "where": ["year>=1990"]}
    assert set(listed(server.post("/v1/recommend", posted)["users"][0])) == set(few) & late
    assert listed(server.post("/v1/recommend", {"users": [1], "allow": []})["users"][0]) == []
    for where, words in (
        ("colour=red", "the item metadata has no column 'colour'; it has title, year, genres"),
        ("year>=Drama", "the column 'year' is numeric, but it is compared with 'Drama'"),
        ("genres>=Drama", "the column 'genres' is not numeric; compare it with = or !="),
        ("genres", "the condition 'genres' must be COLUMN=VALUE"),
        ("year>1|2", "'year'> takes one number, not 2"),
    ):
        status, problem = server.call("GET", f"/v1/recommend/1?where={where}")
        assert status == 422
        assert words in problem["detail"]
    status, problem = server.call("GET", "/v1/recommend/1?" + "&".join(["where=year>1"] * 11))
    assert (status, problem["detail"]) == (422, "11 conditions came; at most 10 are allowed")


def test_events_update_profiles_and_exclude_their_items(server, trained):
    before = server.get("/v1/recommend/7?k=20")
    first = listed(before)[0]
    result = server.post("/v1/events", {"user_id": 7, "item_id": first, "kind": "seen", "key": "a"})
    assert result == {
        "model_version": trained.version, "accepted": 1, "duplicates": 0, "unknown_items": []
    }  # fmt: skip
    seen = server.get("/v1/recommend/7?k=19")
    assert seen["source"] == "trained"  # no event that moves the profile
    assert listed(seen) == listed(before)[1:]
    liked = listed(before)[10]
    server.post("/v1/events", [{"user_id": 7, "item_id": liked}, {"user_id": "new", "item_id": str(liked)}])
    moved = server.get("/v1/recommend/7?k=18")
    assert moved["source"] == "profile"
    assert not {first, liked} & set(listed(moved))
    fresh = server.get("/v1/recommend/new?k=5")
    assert fresh["source"] == "profile"
    assert liked not in listed(fresh)
    assert fresh["items"] != server.get("/v1/recommend/nobody?k=5")["items"]
    # after the events are cleared, the list is as before
    server.post("/v1/events", [{"user_id": 7, "item_id": one, "kind": "clear"} for one in (first, liked)])
    again = server.get("/v1/recommend/7?k=20")
    assert (again["source"], again["items"]) == ("trained", before["items"])


def test_likes_raise_similar_items_and_dislikes_lower_them(server, trained):
    one = trained.items.ids[np.argmax(np.bincount(trained.interactions.indices))].item()
    near = trained.similar(one, 20)["neighbor_id"].to_list()

    def mean_rank(user):
        places = {
            item: place for place, item in enumerate(listed(server.get(f"/v1/recommend/{user}?k=1000")))
        }
        return np.mean([places[item] for item in near])

    server.post(
        "/v1/events",
        [{"user_id": "fan", "item_id": one}, {"user_id": "foe", "item_id": one, "kind": "dislike"}],
    )
    assert server.get("/v1/users/foe")["source"] == "profile"
    assert mean_rank("fan") < mean_rank("foe") - 10


def test_an_event_with_a_key_counts_once(server):
    one = {"user_id": "once", "item_id": "1", "key": "k1"}
    assert server.post("/v1/events", one)["accepted"] == 1
    assert server.post("/v1/events", one)["duplicates"] == 1
    other = {**one, "user_id": "twice"}  # keys are per user
    many = server.post("/v1/events", [one, other, other, {**one, "key": "k2"}])
    assert (many["accepted"], many["duplicates"]) == (2, 2)
    assert len(server.get("/v1/users/once")["events"]) == 2
    without = {"user_id": "thrice", "item_id": "1"}
    assert server.post("/v1/events", [without, without])["accepted"] == 2


def test_the_fast_path_parses_events_like_the_route():
    good = {"user_id": 5, "item_id": "x", "kind": "click", "weight": 2, "time": 7.5, "key": "k"}
    for body in (good, [good, {"user_id": "u", "item_id": 3, "time": 1, "key": None}], []):
        short = valid_events(json.dumps(body).encode(), 5)
        assert short == [EventBody(**one).to_event() for one in (body if isinstance(body, list) else [body])]
    for bad in (
        {**good, "user_id": True}, {**good, "item_id": 1.5}, {**good, "time": "yesterday"},
        {**good, "more": 1}, {**good, "kind": None}, {**good, "key": 5}, {**good, "weight": "1"},
        {**good, "weight": True}, {"user_id": 1}, {**good, "kind": "adore"}, {**good, "user_id": 10**300},
        [good] * 6, [good, 3], 3, None, "x",
    ):  # fmt: skip
        assert valid_events(json.dumps(bad).encode(), 5) is None, bad


def test_invalid_events_are_refused(server):
    good = {"user_id": "wrong", "item_id": "1"}
    for bad, words in (
        ({**good, "kind": "adore"}, "the kind of an event is 'adore'; it must be one of like, buy, click"),
        ({**good, "time": -1}, "the time of an event is -1.0; it must be in seconds since 1970"),
        ({**good, "time": time.time() + 1e6}, "not in the future"),
        ({**good, "time": "yesterday"}, "the time 'yesterday' is neither seconds since 1970 nor ISO 8601"),
        ({**good, "weight": 1e9}, "the weight of an event is 1000000000.0; it must be within ±1000"),
        ({**good, "weight": 10**400}, "the weight of an event is inf"),
        ({**good, "user_id": ""}, "user_id has 0 characters; it must have 1 to 256"),
        ({**good, "item_id": "x" * 257}, "item_id has 257 characters"),
        ({**good, "item_id": "a\0b"}, "item_id contains a character that cannot be stored"),
        ({**good, "key": ""}, "key has 0 characters"),
    ):
        for body in (bad, [good, bad]):
            status, problem = server.call("POST", "/v1/events", body)
            assert (status, problem["status"]) == (422, 422), bad
            assert words in problem["detail"], problem
    for bad in (
        {"user_id": "u"},
        {**good, "more": 1},
        {**good, "user_id": 1.5},
        {**good, "user_id": None},
        [[]],
        3,
    ):
        status, problem = server.call("POST", "/v1/events", bad)
        assert status == 422
        assert problem["errors"]
    assert server.get("/v1/users/wrong")["events"] == []
    assert server.post("/v1/events", {**good, "time": "2026-01-02T03:04:05Z"})["accepted"] == 1
    assert server.get("/v1/users/wrong")["events"][0]["time"] == 1767323045


def test_users_can_be_forgotten(server, trained):
    before = server.get("/v1/recommend/3?k=5")
    server.post("/v1/events", [{"user_id": 3, "item_id": one, "key": str(one)} for one in listed(before)])
    assert server.get("/v1/recommend/3?k=5") != before
    assert server.call("DELETE", "/v1/users/3") == (200, {"user_id": "3", "events_deleted": 5})
    assert server.get("/v1/recommend/3?k=5") == before
    assert server.get("/v1/users/3")["events"] == []
    result = server.post(
        "/v1/events", {"user_id": 3, "item_id": listed(before)[0], "key": str(listed(before)[0])}
    )
    assert result["accepted"] == 1


def test_profiles_survive_a_restart(settings, trained):
    liked = trained.items.ids[5].item()
    with serving(settings) as server:
        server.post(
            "/v1/events", [{"user_id": one, "item_id": liked, "time": time.time() - 60} for one in ("new", 4)]
        )
        before = [listed(server.get(f"/v1/recommend/{one}?k=8")) for one in ("new", 4)]
        assert server.stop() == -signal.SIGTERM  # uvicorn raises the signal again after shutdown
    with serving(settings) as server:
        assert [listed(server.get(f"/v1/recommend/{one}?k=8")) for one in ("new", 4)] == before


def test_items_can_be_added(settings, trained, data):
    with serving(settings) as server:
        genre = data.item_metadata["genres"][0][0]
        body = {"features": {"genres": genre}, "title": "Brand New"}
        status, added = server.call("PUT", "/v1/items/fresh%2F1", body)
        assert status == 422  # the model's ids are integers
        assert "ids of the model are integers" in added["detail"]
        assert server.call("PUT", "/v1/items/1", body)[0] == 422
        status, problem = server.call("PUT", "/v1/items/5001", {"features": {"colour": "red"}})
        assert (status, "genres" in problem["detail"]) == (422, True)
        status, added = server.call("PUT", "/v1/items/5000", body)
        assert status == 200, added
        assert (added["title"], added["model_version"]) == ("Brand New", f"{trained.version}+1")
        assert (added["genres"], added["year"]) == ([genre], None)
        found = server.get("/v1/recommend/1?k=1000&exclude_seen=false&allow=5000")
        assert [(one["item_id"], one["title"]) for one in found["items"]] == [(5000, "Brand New")]
        grown = trained.with_items([5000], {"genres": genre})
        assert found["items"][0]["score"] == pytest.approx(grown.predict([1], [5000])[0], rel=1e-5)
        server.post("/v1/events", {"user_id": "new", "item_id": 5000})
        assert 5000 not in listed(server.get("/v1/recommend/new?k=1000"))
    with serving(settings) as server:
        assert server.get("/v1/items/5000")["title"] == "Brand New"


def test_users_items_map_and_search(server, trained, data):
    item = server.get("/v1/items/1")
    table = data.item_metadata.with_columns(pl.Series("item_id", data.items.ids))
    expected = table.filter(pl.col("item_id") == 1).row(0, named=True)
    assert {name: item[name] for name in ("item_id", "title", "year", "genres")} == expected
    assert item["users"] == int((trained.interactions.indices == trained.items.find(1)).sum())
    assert server.call("GET", "/v1/items/unheard")[0] == 404
    assert server.call("GET", "/v1/similar/unheard")[1]["detail"] == "there is no item 'unheard'"
    plane = server.get("/v1/map?limit=50")["items"]
    assert len(plane) == 50
    users = [one["users"] for one in plane]
    assert users == sorted(users, reverse=True)
    assert np.std([one["x"] for one in plane]) > 0
    word = expected["title"].split()[-1].lower()
    assert 1 in listed(server.get(f"/v1/search?q={word}&k=90"))
    assert server.call("GET", "/v1/search?q=")[0] == 422
    model = server.get("/v1/model")
    assert (model["users"], model["items"], model["model_version"]) == (USERS, ITEMS, trained.version)
    server.post("/v1/events", [{"user_id": 59, "item_id": 1}, {"user_id": 59, "item_id": "unheard"}])
    events = server.get("/v1/users/59")["events"]
    assert [one["item_id"] for one in events] == [1, "unheard"]
    assert events[0]["position"] is not None
    assert events[1]["position"] is None
    assert server.get("/v1/users/59?limit=0")["events"] == []


def test_the_user_cache_is_bounded(trained, monkeypatch):
    profile = Profile("ema", trained.space)
    size = sum(array.nbytes for array in profile.start().values())
    monkeypatch.setattr("segue.serve.service.user_state.MAX_BYTES", 3 * size)
    cache = UserCache(trained, profile)
    for name in "abcde":
        cache.put(name, cache.build(-1, []))
    assert len(cache) == 3
    assert [cache.get(name) is not None for name in "abcde"] == [False, False, True, True, True]


def test_events_with_unknown_items_are_stored(server):
    result = server.post("/v1/events", {"user_id": "early", "item_id": "unheard"})
    assert (result["accepted"], result["unknown_items"]) == (1, ["unheard"])
    assert server.get("/v1/recommend/early")["source"] == "popular"


def test_api_keys(settings, tmp_path):
    reader, writer = "r" * 32, "w" * 40
    file = tmp_path / "keys"
    hashed = hashlib.sha256(writer.encode()).hexdigest()
    file.write_text(f"# two keys\nweb read {reader}\n\nshop read,write sha256:{hashed}\n")
    event = {"user_id": "u", "item_id": "1"}
    with serving(Settings(settings.model, settings.events, keys=str(file))) as server:
        for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
            assert POOL.request("GET", server.url + path).status == 200
        for path in ("/v1/recommend/1", "/v1/model", "/metrics", "/v1/users/1", "/nowhere"):
            for header in ({}, {"Authorization": "Bearer " + "x" * 32}, {"Authorization": f"Basic {reader}"}):
                status, problem = server.call("GET", path, **header)
                assert (status, problem["title"]) == (401, "Unauthorized")
        assert server.call("GET", "/v1/recommend/1", Authorization=f"Bearer {reader}")[0] == 200
        assert (
            server.call("POST", "/v1/recommend", {"users": [1]}, Authorization=f"bearer {reader}")[0] == 200
        )
        for method, path, body in (
            ("POST", "/v1/events", event),
            ("DELETE", "/v1/users/u", None),
            ("PUT", "/v1/items/77", {"features": {}}),
        ):
            status, problem = server.call(method, path, body, Authorization=f"Bearer {reader}")
            assert (status, problem["detail"]) == (403, "this API key lacks the write scope")
            assert server.call(method, path, body)[0] == 401
        assert server.call("POST", "/v1/events", event, Authorization=f"Bearer {writer}")[0] == 200
        with Client(server.url, key=writer) as client:
            assert client.event("u", "2").accepted == 1
        file.write_text(f"web read {'n' * 32}\n")  # a changed file takes effect without a restart
        until = time.monotonic() + 10
        while server.call("GET", "/v1/model", Authorization=f"Bearer {reader}")[0] == 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert server.call("GET", "/v1/model", Authorization=f"Bearer {'n' * 32}")[0] == 200


def test_limits(settings):
    limits = Limits(body=2000, k=20, users=3, events=2, ids=4, concurrency=2, deadline=2.0)
    with serving(Settings(settings.model, settings.events, limits=limits)) as server:
        for path, words in (
            ("?k=21", "k=21 must be 1 to 20"),
            ("?" + "allow=1&" * 5, "allow has 5 ids; the limit is 4"),
        ):
            status, problem = server.call("GET", f"/v1/recommend/1{path}")
            assert status == 422
            assert words in problem["detail"]
        for body, words in (
            ({"users": [1, 2, 3, 4]}, "the request has 4 users; the limit is 3"),
            ({"history": [1, 2, 3, 4, 5]}, "history has 5 ids; the limit is 4"),
            (
                {"users": [1], "history": [1]},
                "the body has users and history of users, history, vector, features; give one",
            ),
            ({}, "the body has none of users, history, vector, features; give one"),
            ({"vector": [1, 2]}, "the vector has 2 numbers"),
        ):
            status, problem = server.call("POST", "/v1/recommend", body)
            assert status == 422
            assert words in problem["detail"], problem
        status, problem = server.call("POST", "/v1/events", [{"user_id": "u", "item_id": "1"}] * 3)
        assert (status, problem["detail"]) == (422, "the request has 3 events; the limit is 2")
        status, problem = server.call("POST", "/v1/events", {"user_id": "u" * 3000, "item_id": "1"})
        assert status == 413
        assert "the limit is 2,000" in problem["detail"]

        def without_length():
            yield from [b"x" * 1000] * 4

        answer = POOL.request("POST", f"{server.url}/v1/events", body=without_length(), chunked=True)
        assert answer.status == 413
        check_slow(server)


def check_slow(server):
    """Slow bodies count towards the concurrency limit until their deadline."""
    import socket

    head = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{"
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
    for one in slow:
        one.sendall(head)
    until = time.monotonic() + 1.5
    while (answer := POOL.request("GET", f"{server.url}/v1/model")).status != 429:
        assert time.monotonic() < until
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["detail"] == "2 requests are in progress; try again later"
    assert POOL.request("GET", f"{server.url}/healthz").status == 200
    for one in slow:
        assert one.recv(1000).startswith(b"HTTP/1.1 408")
        one.close()
    assert server.get("/v1/model")


def test_the_client(fresh, trained):
    with Client(fresh.url) as client:
        assert client.ready()
        found = client.recommend(1, 5, where=["year>=1980"], exclude_seen=False)
        assert (found.source, len(found.items), found.items[0].rank) == ("trained", 5, 1)
        allowed = [one.item_id for one in found.items[:2]]
        assert {one.item_id for one in client.recommend(1, allow=allowed, exclude_seen=False).items} == set(
            allowed
        )
        assert client.recommend("a/b ü?&", 3).source == "popular"
        many = client.recommend_many([1, "x"], 3, exclude_seen=False)
        assert {user: one.source for user, one in many.items()} == {"1": "trained", "x": "popular"}
        assert client.recommend_for([1, 2], 3).source == "history"
        assert client.recommend_for({1: 1.0}, 3).source == "history"
        assert client.recommend_for(features={"group": "0"}, k=3, exclude=[1]).source == "features"
        assert client.similar(1, 2)[0].rank == 1
        assert client.event("a/b", 1, key="x") == client.events([{"user_id": "a/b", "item_id": 1}])
        assert client.event("a/b", 1, key="x").duplicates == 1
        assert len(client.user("a/b")["events"]) == 2
        assert client.forget("a/b") == 2
        assert client.item(1)["item_id"] == 1
        assert client.search(client.item(1)["title"], 1)[0].item_id == 1
        assert client.add_item(6000, {"genres": "Drama"}, "Six")["title"] == "Six"
        assert client.model()["items"] == ITEMS + 1
        with pytest.raises(ServiceError, match="404: there is no item 'none'") as caught:
            client.item("none")
        assert caught.value.status == 404
        with pytest.raises(ServiceError, match="allow is empty"):
            client.recommend(1, allow=[])
    fresh.kill()
    with Client(fresh.url, timeout=2) as client:
        assert not client.ready()
        with pytest.raises(ServiceError, match="does not answer") as caught:
            client.model()
        assert caught.value.status == 0


def test_metrics_and_openapi(fresh):
    fresh.get("/v1/recommend/1")
    fresh.get("/v1/recommend/1?exclude_seen=false")
    fresh.get("/v1/recommend/nobody")
    fresh.post("/v1/events", {"user_id": "u", "item_id": "1"})
    fresh.call("GET", "/nowhere")
    text = POOL.request("GET", f"{fresh.url}/metrics").data.decode()
    for line in (
        'segue_requests_total{route="/v1/recommend/{user_id}",status="200"} 3.0',
        'segue_requests_total{route="other",status="404"} 1.0',
        'segue_lists_total{source="trained"} 2.0',
        'segue_lists_total{source="popular"} 1.0',
        'segue_events_total{outcome="new"} 1.0',
        'segue_swaps_total{outcome="taken"} 1.0',
        "segue_model_number 1.0",
        "segue_commit_seconds_count 1.0",
    ):
        assert line in text
    assert "segue_search_examined_total" in text
    spec = fresh.get("/openapi.json")
    assert {
        "/v1/recommend/{user_id}", "/v1/recommend", "/v1/panels/{user_id}", "/v1/similar/{item_id}",
        "/v1/search", "/v1/events",
        "/v1/users/{user_id}", "/v1/items/{item_id}", "/v1/map", "/v1/facets", "/v1/model",
        "/healthz", "/readyz", "/metrics",
    } == set(spec["paths"])  # fmt: skip
    assert "order-7-line-1" in json.dumps(spec)


def test_cors(settings):
    with serving(Settings(settings.model, settings.events, cors=("https://shop.example",))) as server:
        for origin, allowed in (("https://shop.example", True), ("https://evil.example", False)):
            answer = POOL.request("GET", f"{server.url}/v1/model", headers={"Origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
        preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        assert POOL.request("OPTIONS", f"{server.url}/v1/events", headers=preflight).status == 200


def test_every_error_is_a_problem_document(server):
    for method, path, status in (
        ("GET", "/nowhere", 404), ("PATCH", "/v1/events", 405), ("GET", "/v1/map?limit=0", 422),
        ("GET", "/v1/items/" + "x" * 300, 422), ("GET", "/v1/users/" + "x" * 300, 422),
    ):  # fmt: skip
        answer = POOL.request(method, server.url + path)
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    broken = POOL.request(
        "POST", f"{server.url}/v1/events", body=b"{", headers={"content-type": "application/json"}
    )
    assert (broken.status, broken.json()["detail"]) == (400, "the body is not valid JSON")


def test_the_examples_of_the_docs_run(fresh, monkeypatch, capsys):
    page = (Path(__file__).parents[1] / "docs" / "serve.md").read_text(encoding="utf-8")
    client = re.search(r"```py\n(.*?)```", page, re.DOTALL)[1]
    assert "http://127.0.0.1:8000" in client
    exec(compile(client.replace("http://127.0.0.1:8000", fresh.url), "serve.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1] == "profile"
    started = []
    monkeypatch.setattr("segue.cli.serve.run", lambda *settings, **named: started.append((settings, named)))
    commands = re.findall(r"(?:^|ExecStart=\S*/|command: )segue (serve .*)$", page, re.MULTILINE)
    commands.append(" ".join(json.loads(re.search(r"^CMD (\[.*\])$", page, re.MULTILINE)[1])[1:]))
    for command in commands:
        done = CliRunner().invoke(app, command.split())
        assert done.exit_code == 0, (command, done.output)
    assert len(started) == len(commands) == 4
    compose = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert set(compose["services"]) == {"segue", "postgres"}
    for path in re.findall(r"`(?:[A-Z, `]*)(/v1/[a-z]+)", page):
        assert any(one.startswith(path) for one in fresh.get("/openapi.json")["paths"]), path


def test_the_serve_command(folder, tmp_path):
    """`segue serve` with two workers: both answer, see each other's events, sum their metrics, and stop."""
    port = free_port()
    command = [
        sys.executable, "-m", "segue", "serve", str(folder), "--port", str(port), "--workers", "2",
        "--events", f"sqlite:///{tmp_path}/events.sqlite", "--log", "json",
    ]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            until = time.monotonic() + 60
            while not client.ready():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.1)
        for place in range(1, 30):
            with Client(f"http://127.0.0.1:{port}") as client:  # another connection, so any worker
                client.event("u", place)
            with Client(f"http://127.0.0.1:{port}") as client:
                found = client.recommend("u", 90)
                assert not {one.item_id for one in found.items} & set(range(1, place + 1))
        text = POOL.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
        assert 'segue_events_total{outcome="new"} 29.0' in text
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len({line["process"] for line in lines if "serving version" in line["message"]}) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers", "0"], "--workers 0 must be 1 to 64"),
        (["--port", "70000"], "--port 70000 must be 0 to 65535"),
        (["--log", "xml"], "--log 'xml' must be one of text, json"),
        (["--profile", "none"], "there is no profile 'none'; there are ema, halflife"),
        (
            ["--events", "mysql://x"],
            "the URL of the event store must be sqlite:///FILE or postgresql://…, not 'mysql'",
        ),
        (["--keys", "nowhere"], "the key file cannot be read"),
        (["--deadline", "0"], "--deadline 0.0 must be a number of seconds above 0"),
    ],
)
def test_invalid_options_are_refused(folder, options, words):
    done = subprocess.run(
        [sys.executable, "-m", "segue", "serve", str(folder), *options], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_exploration_and_diversification(server, trained):
    plain = server.get("/v1/recommend/11?k=8")
    explored = server.get("/v1/recommend/11?k=8&explore=gumbel:0.8&seed=5")
    assert explored["exploration"] == {"settings": "Gumbel(temperature=0.8, best=300)", "seed": 5}
    assert explored == server.get("/v1/recommend/11?k=8&explore=gumbel:0.8&seed=5")
    assert all(0 < one["propensity"] <= 1 for one in explored["items"])
    others = [server.get("/v1/recommend/11?k=8&explore=gumbel:0.8") for _ in range(4)]
    assert len({one["exploration"]["seed"] for one in others}) == 4
    assert len({str(listed(one)) for one in others}) > 1
    row = trained.users.find(11)
    had = set(
        trained.items.ids[
            trained.interactions.indices[
                trained.interactions.indptr[row] : trained.interactions.indptr[row + 1]
            ]
        ]
    )
    for name in ("gaussian", "buckets:0.3", "rank_buckets:2", "reserved", "optimism"):
        found = server.get(f"/v1/recommend/11?k=8&explore={name}")
        assert len(found["items"]) == 8
        assert not had & set(listed(found))
    diverse = server.get("/v1/recommend/11?k=8&diversify=mmr:0.9")
    assert listed(diverse)[0] == listed(plain)[0]
    assert listed(diverse) != listed(plain)
    assert "propensity" not in diverse["items"][0]
    # a history, several users, and a user without a history
    history = server.post("/v1/recommend", {"history": [1, 2, 5], "k": 4, "explore": "buckets", "seed": 1})
    assert [one["rank"] for one in history["items"]] == [1, 2, 3, 4]
    many = server.post("/v1/recommend", {"users": [11, "nobody"], "k": 8, "explore": "gumbel:0.8", "seed": 5})
    assert many["users"][0]["items"] == explored["items"]
    assert many["users"][1]["source"] == "popular"
    for query, words in (
        ("explore=dice", "there is no exploration 'dice'; choose one of buckets, gaussian"),
        ("explore=gumbel:x", "explore='gumbel:x' must be NAME or NAME:NUMBER"),
        ("explore=gumbel:-1", "temperature"),
        ("explore=thompson", "a posterior needs an iALS model"),
        ("explore=gumbel&diversify=mmr", "exclude each other"),
    ):
        status, problem = server.call("GET", f"/v1/recommend/11?{query}")
        assert (status, words in problem["detail"]) == (422, True), problem


def test_reasons_add_up_to_the_score(server, trained):
    for user, picks in (("12", ()), ("curious", (1, 2, 3)), ("12", (4, 6))):
        if picks:
            server.post("/v1/events", [{"user_id": user, "item_id": item} for item in picks])
        found = server.get(f"/v1/recommend/{user}?k=5&explain=true")
        assert listed(found) == listed(server.get(f"/v1/recommend/{user}?k=5"))
        for item in found["items"]:
            shares = [reason["share"] for reason in item["reasons"]]
            assert sum(shares) == pytest.approx(item["score"], rel=1e-3, abs=1e-4)
            kind = "pick" if picks else "feature"
            values = {reason["value"] for reason in item["reasons"] if reason["reason"] == kind}
            assert values
            if picks:
                assert values <= set(picks)
        if not picks:
            frame = trained.recommend(user, 5, explain=True)
            for item, reasons in zip(found["items"], frame["reasons"].to_list(), strict=True):
                assert [reason["value"] for reason in item["reasons"]] == [row["value"] for row in reasons]
                np.testing.assert_allclose(
                    [reason["share"] for reason in item["reasons"]], [row["share"] for row in reasons]
                )
    panels = server.get("/v1/panels/12?k=3&explain=true")
    assert listed(panels["recommendations"]) == listed(server.get("/v1/recommend/12?k=3"))
    assert all(len(panels[name]["items"]) == 3 for name in ("noise", "buckets", "diverse"))
    assert server.get("/v1/panels/nobody?k=3")["noise"]["source"] == "popular"


def test_explored_and_diversified_lists_equal_those_of_the_library(server, trained):
    """The same options and seed give the same items, scores and propensities."""
    for options in (
        {"explore": "gumbel:0.8", "seed": 5},
        {"explore": "buckets", "seed": 6},
        {"explore": "gaussian:0.4", "seed": 7},
        {"diversify": "mmr:0.6"},
        {"diversify": "dpp:0.4"},
    ):
        body = {"k": 6, "exclude": [1, 2], "where": ["year>=1960"], **options}
        cases = [
            (
                trained.recommend(21, **body),
                server.post("/v1/recommend", {"users": [21], **body})["users"][0],
            ),
            (
                trained.recommend("nobody", on_unknown="popular", **body),
                server.post("/v1/recommend", {"users": ["nobody"], **body})["users"][0],
            ),
            (
                trained.recommend_for([3, 9], **body),
                server.post("/v1/recommend", {"history": [3, 9], **body}),
            ),
            (
                trained.recommend_for({3: 2.0, 9: 0.5}, **body),
                server.post("/v1/recommend", {"history": {"3": 2.0, "9": 0.5}, **body}),
            ),
        ]
        for frame, payload in cases:
            assert summaries(payload) == rows(frame)
            np.testing.assert_allclose(
                [item["score"] for item in payload["items"]], frame["score"], rtol=1e-5
            )
            assert ("exploration" in payload) == ("propensity" in frame.columns) == ("explore" in options)
            if "propensity" in frame.columns:
                propensities = [item["propensity"] for item in payload["items"]]
                np.testing.assert_allclose(propensities, frame["propensity"], rtol=1e-6)


def test_confidence_counts_in_thompson_sampling_and_reasons(data, tmp_path):
    """Picks count with the confidence of the model, as in the library."""
    model = segue.IALS(dim=6, iterations=2, confidence="weights", threads=1)
    trained = segue.Recommender(model).fit(data).save(tmp_path / "model")
    with serving(Settings(str(tmp_path / "model"), f"sqlite:///{tmp_path}/events.sqlite")) as server:
        for history in ([3, 9], {"3": 4.0, "9": 0.5}):
            library = (
                {int(item): weight for item, weight in history.items()}
                if isinstance(history, dict)
                else history
            )
            body = {"k": 5, "explore": "thompson", "seed": 3, "explain": True}
            payload = server.post("/v1/recommend", {"history": history, **body})
            frame = trained.recommend_for(library, **body)
            assert listed(payload) == frame["item_id"].to_list()
            propensities = [item["propensity"] for item in payload["items"]]
            np.testing.assert_allclose(propensities, frame["propensity"], rtol=1e-5)
            for item, reasons in zip(payload["items"], frame["reasons"].to_list(), strict=True):
                shares = [reason["share"] for reason in item["reasons"]]
                np.testing.assert_allclose(
                    shares, [reason["share"] for reason in reasons], rtol=1e-4, atol=1e-6
                )
        payload = server.get("/v1/recommend/5?k=5&explore=thompson&seed=3")
        assert listed(payload) == trained.recommend(5, 5, explore="thompson", seed=3)["item_id"].to_list()


def test_a_history_without_ratings_is_refused_by_rating_models(data, tmp_path):
    trained = segue.Recommender(segue.BiasedMF(dim=4)).fit(data).save(tmp_path / "model")
    with serving(Settings(str(tmp_path / "model"), f"sqlite:///{tmp_path}/events.sqlite")) as server:
        status, problem = server.call("POST", "/v1/recommend", {"history": [3, 9]})
        assert (status, "{item: rating}" in problem["detail"]) == (422, True)
        payload = server.post("/v1/recommend", {"history": {"3": 5, "9": 1.5}, "k": 5})
        frame = trained.recommend_for({3: 5.0, 9: 1.5}, 5)
        assert listed(payload) == frame["item_id"].to_list()
