"""New model versions under load: no failed request, no mixed response, damaged versions refused."""

import itertools
import shutil
import threading
import time

import numpy as np
import pytest

import segue
from segue import store
from segue.serve.settings import Settings
from serving import POOL, START, serving

USERS, ITEMS, SWAPS, REQUESTS = 40, 60, 10, 10_000


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(USERS, ITEMS, 900, seed=5)


def fit(data, seed):
    return segue.Recommender(segue.IALS(dim=8, iterations=1, seed=seed)).fit(data)


def expected(recommender):
    """The items of each user, by id as text."""
    frame = recommender.recommend(k=5)
    lists = {}
    for row in frame.iter_rows(named=True):
        lists.setdefault(str(row["user_id"]), []).append(row["item_id"])
    return lists


def wait_for(server, version):
    until = time.monotonic() + 30
    while server.get("/v1/model")["model_version"] != version:
        assert time.monotonic() < until, f"version {version} is not served"
        time.sleep(0.02)


def test_requests_during_swaps(data, tmp_path):
    folder = tmp_path / "model"
    lists = {}
    first = fit(data, 0).save(folder)
    lists[first.version] = expected(first)
    versions = [fit(data, seed) for seed in range(1, SWAPS + 1)]
    made = [expected(one) for one in versions]
    assert (
        len({str(one) for one in [lists[first.version], *made]}) == SWAPS + 1
    )  # so that a mixture is detected
    counter, problems, versions_seen = itertools.count(), [], set()
    swapped = threading.Event()
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")
    with serving(settings) as server:

        def send_requests(number):
            users = itertools.cycle(np.random.default_rng(number).permutation(data.users.ids).tolist())
            while next(counter) < REQUESTS or not swapped.is_set():
                one, other = next(users), next(users)
                if number:
                    answer = POOL.request("GET", f"{server.url}/v1/recommend/{one}?k=5")
                    found = [(one, answer.json())]
                else:
                    answer = POOL.request(
                        "POST", f"{server.url}/v1/recommend", json={"users": [one, other], "k": 5}
                    )
                    found = list(zip((one, other), answer.json()["users"], strict=True))
                for user, listed in found:
                    version = listed["model_version"]
                    versions_seen.add(version)
                    if (
                        answer.status != 200
                        or [item["item_id"] for item in listed["items"]] != lists[version][str(user)]
                    ):
                        problems.append((user, answer.status, listed))

        threads = [threading.Thread(target=send_requests, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for recommender, theirs in zip(versions, made, strict=True):
                number = len(lists) + 1
                # the name is known only after saving, when it may be served already
                copy = tmp_path / f"copy{number}"
                shutil.copytree(folder, copy)
                name = recommender.save(copy).version
                lists[name] = theirs
                assert recommender.save(folder).version == name
                wait_for(server, name)
        finally:
            swapped.set()
            for thread in threads:
                thread.join()
        assert problems == []
        assert next(counter) >= REQUESTS
        assert versions_seen == set(lists)
        text = POOL.request("GET", f"{server.url}/metrics").data.decode()
        assert f'segue_swaps_total{{outcome="taken"}} {SWAPS + 1}.0' in text
        assert server.process.is_alive()


def test_damaged_versions_are_refused_and_the_old_one_is_kept(data, tmp_path):
    folder = tmp_path / "model"
    first = fit(data, 0).save(folder)
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")
    with serving(settings) as server:
        aside = tmp_path / "aside"
        shutil.copytree(folder, aside)
        bad = fit(data, 1).save(aside).version
        shutil.copytree(aside / "versions" / bad, folder / "versions" / bad)
        file = folder / "versions" / bad / "items.npy"
        raw = bytearray(file.read_bytes())
        raw[-5] ^= 1  # the size and the header are valid, one bit is not
        file.write_bytes(raw)
        (folder / "CURRENT").write_text(f"{bad}\n")
        until = time.monotonic() + 20
        while server.get("/v1/model")["refused_version"] != bad:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert server.get("/v1/recommend/1?k=5")["model_version"] == first.version
        (folder / "CURRENT").write_text("nonsense\n")
        time.sleep(1.2)
        assert server.get("/readyz")["model_version"] == first.version
        (folder / "CURRENT").write_text(f"{bad}\n")
        third = fit(data, 2).save(folder)
        wait_for(server, third.version)
        assert server.get("/v1/model")["refused_version"] is None
    (folder / "CURRENT").write_text(f"{bad}\n")
    with serving(settings) as server:  # after a restart, the newest intact version is served
        assert server.get("/v1/model")["model_version"] == third.version
        assert server.get("/v1/model")["refused_version"] == bad


def test_each_version_rebuilds_profiles_from_events(data, tmp_path):
    folder = tmp_path / "model"
    fit(data, 0).save(folder)
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")
    with serving(settings) as server:
        events = [{"user_id": "new", "item_id": item, "time": time.time() - 100 + item} for item in (3, 5, 8)]
        server.post("/v1/events", events)
        server.get("/v1/recommend/new")
        second = fit(data, 1).save(folder)
        wait_for(server, second.version)
        swapped = server.get("/v1/recommend/new?k=5")
    with serving(settings) as server:
        again = server.get("/v1/recommend/new?k=5")
    assert (swapped["source"], swapped["items"]) == ("profile", again["items"])


def save_often(folder, data, seeds):
    for seed in seeds:
        fit(data, seed).save(folder)
        store.prune(folder, 2)


def test_two_processes_save_while_a_third_serves(data, tmp_path):
    folder = tmp_path / "model"
    fit(data, 0).save(folder)
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")
    with serving(settings) as server:
        writers = [
            START.Process(target=save_often, args=(folder, data, range(first, first + 8)))
            for first in (10, 20)
        ]
        for writer in writers:
            writer.start()
        answered = 0
        while any(writer.is_alive() for writer in writers):
            assert len(server.get("/v1/recommend/1?k=5")["items"]) == 5
            answered += 1
        for writer in writers:
            writer.join()
            assert writer.exitcode == 0
        wait_for(server, store.current_version(folder))
    assert answered > 20
    assert len(store.versions(folder)) <= 3


def test_a_killed_save_does_no_harm(data, tmp_path):
    folder = tmp_path / "model"
    fit(data, 0).save(folder)
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")
    with serving(settings) as server:
        for place in range(5):
            saver = START.Process(target=save_often, args=(folder, data, range(100)))
            saver.start()
            time.sleep(0.3 + 0.07 * place)
            saver.kill()
            saver.join()
            assert server.get("/v1/recommend/1?k=5")["items"]
        store.verify(folder)
        wait_for(server, store.current_version(folder))


def test_a_read_only_folder_is_served(data, tmp_path):
    folder = tmp_path / "model"
    made = fit(data, 0).save(folder)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with serving(Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")) as server:
            assert server.get("/v1/recommend/1?k=5")["model_version"] == made.version
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
