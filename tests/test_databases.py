"""Read queries of SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path

import psycopg
import pytest

import postgres
from segue.data import sql
from segue.data.sources import read_interactions, read_table
from segue.errors import DataError, SettingError
from sources import error_of, pairs, triples


@pytest.fixture
def sqlite_url(tmp_path):
    path = tmp_path / "shop (1).db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table ratings (who integer, item_id text, rating real, at text)")
        connection.executemany(
            "insert into ratings values (?, ?, ?, ?)",
            [(7, "a", 2.5, "2020-01-01"), (7, "b", 1, "2020-01-02"), (2, "a", 3, "2020-01-03")],
        )
    return f"sqlite:///{path}"


DAY = 1577836800.0
SOLD = {(7, "a"): (2.5, DAY), (7, "b"): (1.0, DAY + 86400), (2, "a"): (3.0, DAY + 2 * 86400)}


@pytest.mark.parametrize("batch", [1, 2, 50_000])
def test_sqlite_query(batch, sqlite_url, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", batch)
    query = "select * from ratings"
    assert triples(read_interactions(sqlite_url, query=query, user="who", time="at")) == SOLD
    assert read_table(sqlite_url, query=query).columns == ["who", "item_id", "rating", "at"]


def test_sqlite_columns_of_mixed_types(sqlite_url, monkeypatch):
    query = "select 1 as user, '007' as item union all select 2, 12 union all select 3, 'x'"
    for batch in (1, 2, 3):
        monkeypatch.setattr(sql, "BATCH", batch)
        assert pairs(read_interactions(sqlite_url, query=query)) == {(1, "007"), (2, "12"), (3, "x")}


def test_sqlite_is_read_only_and_explains_errors(sqlite_url, tmp_path, write):
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    before = path.read_bytes()
    ask = "select who as user, item_id from ratings"
    name = "the query on shop (1).db"
    assert "needs query=, such as query='SELECT user_id" in error_of(sqlite_url, error=SettingError)
    assert "needs query=" in error_of(sqlite_url, query=" ", error=SettingError)
    assert error_of(sqlite_url, query="select * from nope") == f"{name} failed: no such table: nope"
    assert (
        error_of(sqlite_url, query="delete from ratings")
        == f"{name} failed: attempt to write a readonly database"
    )
    assert error_of(sqlite_url, query=f"{ask} where 0") == f"{name} returned no rows"
    assert "failed: You can only execute one statement at a time" in error_of(
        sqlite_url, query=f"{ask}; {ask}"
    )
    assert "returns no columns; it must be a SELECT" in error_of(sqlite_url, query="begin")
    assert "no column that looks like item ids" in error_of(sqlite_url, query="select 1 as user")
    assert "2 of 3 user ids are missing (null), the first in row 2" in error_of(
        sqlite_url,
        query="select nullif(item_id, 'a') as item, case rating when 2.5 then 1 end as user from ratings",
    )
    assert path.read_bytes() == before
    assert (
        error_of(f"sqlite:///{tmp_path}/gone.db", query=ask) == f"there is no SQLite file {tmp_path}/gone.db"
    )
    assert not (tmp_path / "gone.db").exists()
    assert "is sqlite:///file.db" in error_of("sqlite://", query=ask)
    assert "file is not a database" in error_of(f"sqlite:///{write('x' * 2000)}", query=ask)
    assert error_of("mysql://me:secret@there/db", query=ask) == (
        "mysql:// is not supported; use sqlite://, postgresql://, postgres://, or the path of a file"
    )


@pytest.fixture
def table(postgres_url):
    """A table of its own for a test, and the URL."""
    name = f"sold_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            f"create table {name} (who int, item_id text, rating numeric(6, 2), at timestamptz, "
            "ref uuid, n serial)"
        )
        connection.execute(
            f"insert into {name} values (7, 'a', 2.5, '2020-01-01Z', '00000000-0000-0000-0000-000000000001'),"
            " (7, 'b', 1, '2020-01-02T01:00+01', '00000000-0000-0000-0000-000000000002'), "
            "(2, 'a', 3, '2020-01-03Z', null)"
        )
    yield name
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"drop table {name}")


@pytest.mark.parametrize("batch", [1, 2, 50_000])
def test_postgresql_query(batch, postgres_url, table, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", batch)
    for url in (postgres_url, postgres_url.replace("postgresql://", "postgres://")):
        for query in (f"select * from {table}", f"select * from {table} where item_id not like '%x';"):
            assert triples(read_interactions(url, query=query, user="who", time="at")) == SOLD


def test_postgresql_types_without_an_equivalent_in_frames(postgres_url, table):
    query = f"select ref as user, sum(who::numeric) as item from {table} where ref is not null group by ref"
    assert pairs(read_interactions(postgres_url, query=query)) == {(f"{uuid.UUID(int=n)}", 7) for n in (1, 2)}
    halves = f"select who as user, rating as item from {table}"
    assert "item ids must be strings or integers, but row 1 holds 2.5" in error_of(postgres_url, query=halves)
    nan = f"select who as user, item_id, 'NaN'::numeric as weight from {table}"
    assert "the weight in row 1 is nan" in error_of(postgres_url, query=nan)
    big = "select 12345678901234567890::numeric as user, 1 as item"
    assert pairs(read_interactions(postgres_url, query=big)) == {("12345678901234567890", 1)}


def test_postgresql_uses_a_server_side_cursor(postgres_url):
    query = "select count(*) as user, 1 as item from pg_cursors"  # the query's own cursor
    assert pairs(read_interactions(postgres_url, query=query)) == {(1, 1)}


def test_postgresql_explains_errors(postgres_url, table):
    host = postgres_url.partition("host=")[2].partition("&")[0]
    name = f"the query on PostgreSQL (postgres on {host})"
    assert (
        error_of(postgres_url, query="select * from nope") == f'{name} failed: relation "nope" does not exist'
    )
    assert "failed: syntax error at or near" in error_of(postgres_url, query=f"delete from {table}")
    assert "failed: division by zero" in error_of(postgres_url, query="select 1/0 as user, 2 as item")
    assert (
        error_of(postgres_url, query=f"select * from {table} where false", user="who")
        == f"{name} returned no rows"
    )
    assert "no column that looks like item ids; its columns are user" in error_of(
        postgres_url, query='select 1 as "user"'
    )
    assert "needs query=" in error_of(postgres_url, error=SettingError)
    assert "cannot execute nextval() in a read-only transaction" in error_of(
        postgres_url, query=f"select who as user, nextval('{table}_n_seq') as item from {table}"
    )
    everything = read_interactions(postgres_url, query=f"select * from {table}", user="who")
    assert len(everything) == 3  # nothing was lost


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda url: url.replace("pa55", "wr0ng"), "cannot be reached: connection failed: "),
        (lambda url: url.replace("@/", "@127.0.0.1:1/").partition("?")[0], "Connection refused"),
        (lambda url: url.replace("host=", "host=/nowhere"), "No such file or directory"),
        (
            lambda url: url.replace("%40", "@").partition("?")[0],
            "cannot be understood; it is postgresql://user:password@host",
        ),
        (lambda url: url.replace("%2F", "/"), "cannot be understood; it is postgresql://user:password@host"),
        (
            lambda url: url.replace("%2F", "%ZZ"),
            "cannot be understood; it is postgresql://user:password@host",
        ),
        (lambda url: url + "&port=wr0ng", 'invalid integer value "wr0ng" for connection option "port"'),
        (lambda url: url + "&password=wr0ng", "password authentication failed"),
        (lambda url: url + "&sslmode=pa55/word@home", 'invalid sslmode value: "***"'),
    ],
)
def test_messages_do_not_contain_the_password(change, wanted, postgres_url):
    with pytest.raises(DataError, match="PostgreSQL") as raised:
        read_interactions(change(postgres_url), query="select 1")
    assert wanted in str(raised.value)
    shown, error = "", raised.value
    while error is not None:  # and no error that a traceback shows beside it
        shown, error = f"{shown}\n{error}", error.__cause__ or error.__context__
    assert "\n" not in str(raised.value)
    for secret in (postgres.PASSWORD, postgres.QUOTED, "word@home", "word%40home", "pa55", "55%2F"):
        assert secret not in shown
