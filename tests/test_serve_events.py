"""Events: the contract of event stores, group commit, crashes, full disks, several processes."""

import asyncio
import os
import random
import sqlite3
import threading

import psycopg
import pytest
import urllib3

import segue
from segue.errors import SettingError
from segue.serve.events.base import KINDS, Event, StoreCommand
from segue.serve.events.journal import Journal
from segue.serve.events.open import open_store, store_kind
from segue.serve.events.validation import new_event
from segue.serve.metrics import Metrics
from segue.serve.problems import StoreError
from segue.serve.settings import Settings
from serving import Server, serving


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.sqlite"
    found = request.getfixturevalue("postgres_url")
    with psycopg.connect(found, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS segue_events, segue_items")
    return found


@pytest.fixture
def opened(url):
    store = open_store(url)
    yield store
    store.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("events") / "model"
    segue.Recommender(segue.IALS(dim=4, iterations=1)).fit(segue.data.simulate(20, 30, 300, seed=1)).save(
        folder
    )
    return folder


def like(user, item, key=None, weight=1.0):
    return Event(user, item, "like", weight, 5.0, key)


def test_a_store_returns_events_in_order_and_once(opened, url):
    assert opened.last() == 0
    assert opened.write(
        [
            StoreCommand((like("u", "1", "a"), like("u", "2"))),
            StoreCommand((like("u", "1", "a"), like("v", "1", "a"))),
        ]
    ) == [2, 1]
    assert opened.write(
        [StoreCommand((like("u", "9", "a"),)), StoreCommand((like("u", "3"), like("u", "3")))]
    ) == [0, 2]
    rows = opened.after(0, 100)
    assert [(row.user_id, row.item_id) for row in rows] == [
        ("u", "1"), ("u", "2"), ("v", "1"), ("u", "3"), ("u", "3")
    ]  # fmt: skip
    assert [row.id for row in rows] == sorted({row.id for row in rows})
    assert rows[0][2:] == ("1", "like", 1.0, 5.0)
    assert opened.after(rows[1].id, 2) == rows[2:4]
    assert opened.of_user("u") == [rows[0], rows[1], *rows[3:]]
    assert opened.of_user("nobody") == []
    assert opened.users() == {"u", "v"}
    assert opened.last() == rows[-1].id
    other = open_store(url)  # events are durable
    assert other.after(0, 100) == rows
    other.close()


def test_a_store_forgets_users(opened):
    opened.write([StoreCommand((like("u", "1", "a"), like("v", "1")))])
    assert opened.write([StoreCommand(forget="u")]) == [2]
    assert [row.kind for row in opened.of_user("u")] == ["forget"]
    assert len(opened.of_user("v")) == 1
    assert opened.write([StoreCommand((like("u", "1", "a"),))]) == [1]


def test_a_store_returns_new_items(opened):
    opened.write([StoreCommand(item=("a", "{}")), StoreCommand(item=("b", "{}"))])
    first = opened.items(0)
    assert [(row.item_id, row.details) for row in first] == [("a", "{}"), ("b", "{}")]
    opened.write([StoreCommand(item=("a", '{"x": 1}'))])
    assert [(row.item_id, row.details) for row in opened.items(first[-1].id)] == [("a", '{"x": 1}')]


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE events; --", "<script>alert(1)</script>", "\u202e\U0001f600%s?", '"\\']
)
def test_ids_are_not_interpreted(opened, text):
    opened.write([StoreCommand((like(text, text, text),)), StoreCommand(item=(text, text))])
    assert opened.of_user(text)[0][1:3] == (text, text)
    assert opened.users() == {text}


def test_ids_become_visible_in_their_order(url):
    """With four concurrent writers, no id becomes visible after a larger one."""
    stores = [open_store(url) for _ in range(4)]
    reader, seen, last = open_store(url), [], 0
    stop = threading.Event()

    def write(number):
        for place in range(40):
            stores[number].write(
                [StoreCommand((like(f"u{number}", str(place)), like(f"u{number}", str(place))))]
            )

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or not stop.is_set():
        if not any(thread.is_alive() for thread in threads):
            stop.set()
        for row in reader.after(last, 7):
            seen.append(row)
            last = row.id
    seen += reader.after(last, 1000)
    assert len(seen) == 320
    assert seen == reader.after(0, 1000)
    for store in [*stores, reader]:
        store.close()


def test_concurrent_writes_share_commits(url):
    async def main():
        applied, metrics = [], Metrics()
        journal = Journal(lambda: open_store(url), applied.extend, metrics)
        waiting = [journal.write(StoreCommand((like("u", str(place), str(place)),))) for place in range(300)]
        answered = [await asyncio.gather(*waiting), len(applied)]
        again = await journal.write(StoreCommand((like("u", "0", "0"),)))
        await journal.close()
        return answered, again, applied, metrics

    (counts, applied_then), again, applied, metrics = asyncio.run(main())
    assert counts == [1] * 300
    assert applied_then == 300  # all events of a group are applied before the first result
    assert again == 0
    assert [row.item_id for row in applied] == [str(place) for place in range(300)]
    commits = metrics.registry.get_sample_value("segue_commit_seconds_count")
    assert commits <= 20


def test_journals_apply_each_others_events(url):
    async def main():
        applied = [[], []]
        journals = [Journal(lambda: open_store(url), applied[which].extend, Metrics()) for which in range(2)]
        await journals[0].write(StoreCommand((like("u", "1"),)))
        waiting = journals[1].pending()
        if waiting is not None:
            await waiting
        assert [row.item_id for row in applied[1]] == ["1"]
        await journals[1].write(StoreCommand((like("u", "2"),)))
        while len(applied[0]) < 2:  # by polling
            await asyncio.sleep(0.01)
        for journal in journals:
            await journal.close()
        return applied

    first, second = asyncio.run(asyncio.wait_for(main(), 20))
    assert first == second


def test_only_stores_with_a_local_check_detect_writes():
    assert store_kind("sqlite:///x").detects_writes
    assert not store_kind("postgres://host/db").detects_writes


def test_unusable_databases_are_refused(tmp_path):
    with pytest.raises(
        StoreError, match=r"cannot be used: unable to open database file; check that the disk has room"
    ):
        open_store(f"sqlite:///{tmp_path}/no/such/folder.sqlite")
    (tmp_path / "text").write_text("no database at all, but some text that is long enough" * 50)
    with pytest.raises(StoreError, match="file is not a database"):
        open_store(f"sqlite:///{tmp_path}/text")
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(StoreError, match="has the format 9, which this release does not know"):
        open_store(f"sqlite:///{tmp_path}/newer")
    with pytest.raises(
        SettingError,
        match=r"event store must be sqlite:///FILE or postgresql://…, not 'mysql'",
    ):
        open_store("mysql://host/db")
    with pytest.raises(StoreError, match=r"PostgreSQL cannot be used \(OperationalError\)") as caught:
        open_store(f"postgresql://u:secret@/db?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_every_kind_has_a_default_weight():
    assert {new_event("u", "i", kind, None, 1.0, None).weight for kind in KINDS} == set(KINDS.values())


def test_killed_services_lose_no_acknowledged_event(folder, tmp_path):
    """Fifty times: clients send events with keys, the process is killed, and another one continues."""
    path = tmp_path / "events.sqlite"
    settings = Settings(str(folder), f"sqlite:///{path}")
    acknowledged, chance = set(), random.Random(1)
    server = Server(settings).wait()
    for round_ in range(50):
        following = Server(settings) if round_ < 49 else None  # starts on the same file
        stop = threading.Event()

        def send(number, server=server, round_=round_, stop=stop):
            pool = urllib3.PoolManager(retries=False, timeout=10)
            place = 0
            while not stop.is_set():
                key = f"{round_}-{number}-{place}"
                body = [
                    {"user_id": number, "item_id": place % 30 + 1, "key": f"{key}-{part}"}
                    for part in range(3)
                ]
                try:
                    answer = pool.request("POST", f"{server.url}/v1/events", json=body)
                except urllib3.exceptions.HTTPError:
                    break
                if answer.status == 200:
                    acknowledged.update((str(number), one["key"]) for one in body)
                place += 1
            pool.clear()

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        if following is not None:
            following.wait()
        stop.wait(chance.uniform(0.0, 0.1))
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        server = following
    connection = sqlite3.connect(path)
    stored = connection.execute("SELECT user_id, key FROM events").fetchall()
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert len(acknowledged) > 500
    assert len(stored) == len(set(stored))
    assert acknowledged <= set(stored)


def test_a_full_disk(folder, tmp_path):
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")
    with serving(settings, SEGUE_FILE_LIMIT=str(600_000)) as server:
        statuses = []
        for place in range(60):
            body = [
                {"user_id": "u" * 200, "item_id": f"{place}-{one}", "key": f"{place}-{one}"}
                for one in range(100)
            ]
            status, result = server.call("POST", "/v1/events", body)
            statuses.append(status)
        assert statuses[0] == 200
        assert statuses[-1] == 503
        assert "check that the disk has room" in result["detail"]
        assert server.get("/v1/recommend/1")["items"]  # reads still work
    with serving(settings) as server:  # without the limit
        assert server.post("/v1/events", {"user_id": "u", "item_id": "1"})["accepted"] == 1
    connection = sqlite3.connect(tmp_path / "events.sqlite")
    stored = connection.execute("SELECT count(*) FROM events WHERE user_id <> 'u'").fetchone()[0]
    connection.close()
    assert stored == 100 * statuses.count(200)


def test_two_processes_read_each_others_writes(folder, tmp_path):
    """An event that one process acknowledged is visible in the other at once."""
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite", shared=True)
    with serving(settings) as first, serving(settings) as second:
        for place in range(1, 25):
            writer, reader = (first, second) if place % 2 else (second, first)
            writer.post("/v1/events", {"user_id": "u", "item_id": place})
            found = {one["item_id"] for one in reader.get("/v1/recommend/u?k=30")["items"]}
            assert not found & set(range(1, place + 1))
        answers = [one.get("/v1/recommend/u?k=5")["items"] for one in (first, second)]
        assert answers[0] == answers[1]


def test_two_services_share_postgres(folder, postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS segue_events, segue_items")
    settings = Settings(str(folder), postgres_url)
    with serving(settings) as first, serving(settings) as second:
        first.post("/v1/events", {"user_id": "u", "item_id": 3, "key": "a"})
        assert second.post("/v1/events", {"user_id": "u", "item_id": 3, "key": "a"})["duplicates"] == 1
        found = second.get("/v1/recommend/u?k=30")
        assert found["source"] == "profile"
        assert 3 not in [one["item_id"] for one in found["items"]]
        with psycopg.connect(postgres_url, autocommit=True) as connection:  # as if the server restarted
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
        status, _ = first.call("POST", "/v1/events", {"user_id": "u", "item_id": 4, "key": "b"})
        assert status in (200, 503)
        assert first.post("/v1/events", {"user_id": "u", "item_id": 4, "key": "b"})


def test_a_read_only_store(folder, tmp_path):
    path = tmp_path / "events.sqlite"
    open_store(f"sqlite:///{path}").close()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        if os.geteuid() == 0:  # root can write anyway: try as another user
            check_as_nobody(path)
        else:
            with pytest.raises(StoreError, match="check that the disk has room, that the file is writable"):
                open_store(f"sqlite:///{path}").write([StoreCommand((like("u", "1"),))])
    finally:
        tmp_path.chmod(0o755)


def check_as_nobody(path):
    import subprocess
    import sys

    code = (
        "import sys\nimport segue.serve.events.sqlite\n"
        "from segue.serve.events.base import Event, StoreCommand\n"
        "from segue.serve.events.open import open_store\n"
        "from segue.serve.problems import StoreError\n"
        "import os; os.setuid(65534)\n"
        "command = StoreCommand((Event('u', '1', 'like', 1.0, 5.0),))\n"
        "try: open_store(f'sqlite:///{sys.argv[1]}').write([command])\n"
        "except StoreError as error: print(error)\n"
    )
    for parent in path.parents:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "check that the disk has room, that the file is writable" in done.stdout, done


def test_events_while_reading(folder, tmp_path):
    """Reads and writes from many threads: no request fails, and every event is stored."""
    settings = Settings(str(folder), f"sqlite:///{tmp_path}/events.sqlite")
    failed, accepted = [], []
    with serving(settings) as server:

        def work(number):
            for place in range(40):
                status, result = server.call(
                    "POST", "/v1/events", {"user_id": number, "item_id": place % 30 + 1}
                )
                accepted.append(result["accepted"] if status == 200 else 0)
                status, result = server.call("GET", f"/v1/recommend/{number}?k=3")
                if status != 200:
                    failed.append(result)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert sum(accepted) == 320
