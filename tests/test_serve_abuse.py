"""Malformed requests: bodies, the API under Schemathesis, paths, ids, key files."""

import json
import random
import re
import socket
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as options

import segue
from segue.errors import SettingError
from segue.serve.keys import Keys
from segue.serve.settings import Limits, Settings
from serving import POOL, serving

MALFORMED = 10_000
GROWTH = 60  # MiB by which memory may grow meanwhile


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("abused") / "model"
    segue.Recommender(segue.IALS(dim=4, iterations=1)).fit(segue.data.simulate(20, 30, 300, seed=1)).save(
        folder
    )
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with serving(Settings(str(folder), f"sqlite:///{folder.parent}/events.sqlite")) as server:
        yield server


def memory(server):
    """The resident memory of the service, in MiB."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def malformed(chance):
    """Yield method, path and an invalid body, in turn for each route with a body."""
    deep = "[" * 100_000 + "]" * 100_000
    events = [
        b"",
        b"{",
        b"null",
        b"[]]",
        b"\xff\xfe{}",
        b'"text"',
        b"3",
        b"NaN",
        deep.encode(),
        b"[" * 50_000,
        b'{"user_id": ' * 5000,
        b'{"user_id": NaN, "item_id": "1"}',
        b'{"user_id": "u"}',
        b'{"item_id": "1"}',
        b'{"user_id": "u", "item_id": "1", "weight": NaN}',
        b'{"user_id": "u", "item_id": "1", "weight": Infinity}',
        b'{"user_id": "u", "item_id": "1", "weight": "1"}',
        b'{"user_id": "u", "item_id": "1", "time": 1e400}',
        b'{"user_id": "u", "item_id": "1", "time": {}}',
        b'{"user_id": {}, "item_id": []}',
        b'{"user_id": "u", "item_id": "1", "kind": 5}',
        b'{"user_id": "\\ud800", "item_id": "1"}',
        b'{"user_id": "\\u0000", "item_id": "1"}',
        b'{"user_id": true, "item_id": "1"}',
        b'{"user_id": ' + b"9" * 5000 + b', "item_id": "1"}',
        b'{"user_id": ' + b"9" * 300 + b', "item_id": "1"}',
        b'{"user_id": "u", "item_id": "1", "key": 5}',
        b'{"user_id": "u", "item_id": "1", "__proto__": {}}',
        b'{"user_id": "' + b"x" * 1_000_000 + b'", "item_id": "1"}',
    ]
    lists = [
        b"{}",
        b"[]",
        b'{"users": "1"}',
        b'{"users": [[]]}',
        b'{"users": [1], "history": [1]}',
        b'{"users": [1], "k": 0}',
        b'{"users": [1], "k": 1.5}',
        b'{"users": [1], "k": 1e9}',
        b'{"users": [1], "k": true}',
        b'{"vector": [1, 2]}',
        b'{"vector": [NaN, 0, 0, 0]}',
        b'{"vector": [1e400, 0, 0, 0]}',
        b'{"vector": [1e39, 0, 0, 0]}',
        b'{"vector": ["1", 0, 0, 0]}',
        b'{"vector": []}',
        b'{"history": {"1": -1}}',
        b'{"history": {"1": Infinity}}',
        b'{"history": {"1": "a"}}',
        b'{"features": {}}',
        b'{"features": {"a": [1, 2]}}',
        b'{"features": []}',
        b'{"users": [1], "where": ["x"]}',
        b'{"users": [1], "where": ["year>=x"]}',
        b'{"users": [1], "where": "year>1"}',
        b'{"users": [1], "allow": [null]}',
        b'{"users": [1], "exclude": ["' + b"y" * 300 + b'"]}',
        b'{"users": [' + b"1," * 1001 + b"1]}",
        b'{"history": [' + b"1," * 10_001 + b"1]}",
        b'{"users": [""]}',
        b'{"vector": [' + b"1," * 100_000 + b"1]}",
        b'{"users": ["\\ud800"]}',
    ]
    items = [
        b"",
        b"{}",
        b'{"features": 1}',
        b'{"features": {"genres": "Drama"}}',
        b'{"features": {}, "title": 5}',
    ]
    routes = [("POST", "/v1/events", events), ("POST", "/v1/recommend", lists), ("PUT", "/v1/items/x", items)]
    for place in range(MALFORMED):
        method, path, bodies = routes[place % 3]
        body = bodies[place // 3 % len(bodies)]
        if place > 3 * max(len(events), len(lists)) and place % 3 < 2:
            good = (
                b'{"user_id": "u", "item_id": "1"}' if path.endswith("events") else b'{"users": [1], "k": 3}'
            )
            raw = bytearray(chance.choice([body[:2000], good]))
            for _ in range(chance.randint(1, 4)):
                if raw:
                    raw[chance.randrange(len(raw))] = chance.choice(b'{}[]":,\\\xff\x00n')
            body = bytes(raw) + b"{"  # certainly not JSON
        yield method, path, body


def test_malformed_bodies_are_refused(server):
    connection = socket_of(server)
    try:
        check_malformed(server, connection)
    finally:
        connection.close()
    assert server.get("/v1/users/u")["events"] == []


def check_malformed(server, connection):
    before, statuses = None, {}
    for place, (method, path, body) in enumerate(malformed(random.Random(7))):
        status = sent(connection, method, path, body)
        assert 400 <= status < 500, (method, path, body[:200], status)
        statuses[status] = statuses.get(status, 0) + 1
        if place == 1000:
            before = memory(server)
    assert set(statuses) == {400, 422}
    assert memory(server) < before + GROWTH


def socket_of(server):
    import http.client

    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)


def sent(connection, method, path, body):
    connection.request(method, path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.mark.parametrize(
    "user", ["..%2F..%2F..%2Fetc%2Fpasswd", "../../etc/passwd", "%2e%2e/%2e%2e/CURRENT", "%00", "%ff%fe"]
)
@pytest.mark.parametrize(
    "route", ["/v1/recommend/", "/v1/users/", "/v1/items/", "/v1/similar/", "/page/", "/"]
)
def test_paths_do_not_reach_files(server, route, user):
    connection = socket_of(server)
    connection.putrequest("GET", route + user, skip_host=False)
    connection.endheaders()
    answer = connection.getresponse()
    raw = answer.read()
    assert answer.status < 500
    assert b"root:" not in raw
    assert not re.search(rb"\b\d{6}-[0-9a-f]{16}\s*$", raw)
    connection.close()


def test_long_ids_and_queries_are_refused(server):
    for path in (
        "/v1/recommend/" + "x" * 60_000,
        "/v1/recommend/1?allow=" + "y" * 50_000,
        "/v1/search?q=" + "z" * 50_000,
    ):
        assert 400 <= POOL.request("GET", server.url + path).status < 500
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"GET /v1/recommend/" + b"x" * 1_000_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert not raw.recv(100).startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))
    for raw_request in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/recommend/\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.settimeout(5)
            raw.sendall(raw_request)
            assert not raw.recv(100).startswith(b"HTTP/1.1 5")
    assert server.get("/readyz")


def test_no_request_of_the_specification_fails(server):
    """Schemathesis sends valid and invalid requests to each route: none returns a 5xx."""
    specification = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = set()
    for result in specification.get_all_operations():
        operation = result.ok()

        @options(
            max_examples=25, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def check(case):
            answer = case.call(base_url=server.url)
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == ["application/problem+json"]
                assert json.loads(answer.content)["status"] == answer.status_code

        check()
        tried.add(operation.path)
    assert len(tried) >= 10
    assert server.get("/readyz")


def test_invalid_key_files_are_refused(tmp_path):
    file = tmp_path / "keys"
    for text, words in (
        ("", "contains no keys; add lines of the form `name read,write key`"),
        ("web read", "line 1 of .*keys must have three words: `name scopes key`"),
        (
            "# x\nweb admin " + "k" * 20,
            "line 2 of .* has the scopes 'admin'; valid are read, write, and read,write",
        ),
        ("web read short", "has a key of 5 characters; use at least 16"),
        ("web read sha256:abc", "must have 64 hexadecimal digits after sha256:"),
        ("web read sha256:" + "g" * 64, "must have 64 hexadecimal digits after sha256:"),
    ):
        file.write_text(text)
        with pytest.raises(SettingError, match=words):
            Keys(file)
    file.write_bytes(b"\xff\xff")
    with pytest.raises(SettingError, match="cannot be read"):
        Keys(file)
    with pytest.raises(SettingError, match="the key file cannot be read"):
        Keys(tmp_path / "none")
    file.write_text("web read " + "k" * 20)
    keys = Keys(file)
    assert keys.scopes(b"Bearer " + b"k" * 20) == {"read"}
    for header in (b"", b"Bearer", b"Bearer ", b"k" * 20, b"Bearer " + b"k" * 21, b"Bearer \xff\x00"):
        assert keys.scopes(header) == set()
    file.write_text("broken")
    keys.refresh()
    assert keys.scopes(b"Bearer " + b"k" * 20) == {"read"}
    file.unlink()
    keys.refresh()
    assert keys.scopes(b"Bearer " + b"k" * 20) == {"read"}


def test_invalid_settings_are_refused():
    with pytest.raises(SettingError, match=r"deadline=0 must be a number of seconds above 0"):
        Limits(deadline=0)
    with pytest.raises(SettingError, match="k=0"):
        Limits(k=0)
    made = Settings("model", cors=("https://a",), limits=Limits(k=5))
    assert Settings.from_environment(made.to_environment()) == made
    with pytest.raises(
        SettingError, match="SEGUE_SERVE is not set; start the service with `segue serve MODEL`"
    ):
        Settings.from_environment({})
    with pytest.raises(SettingError, match="SEGUE_SERVE must be a JSON object of cors, events, keys"):
        Settings.from_environment({"SEGUE_SERVE": '{"modl": 1}'})
    assert made.events_url == f"sqlite:///{Path.cwd()}/model.events.sqlite"
