"""Read the published layouts of MovieLens."""

from __future__ import annotations

import polars as pl
import pytest

import movielens
from segue.data.sources import read_interactions
from sources import CSV, FRAME, error_of, triples


def test_movielens_small_is_read_as_published(tmp_path):
    folder = movielens.write_files(tmp_path / "ml")
    data = read_interactions(folder)
    assert data.matrix.shape == (movielens.USERS, movielens.RATED) == (120, 390)
    assert len(data) == movielens.RATINGS == 7_945
    assert data.item_metadata.schema == {"title": pl.String, "year": pl.Int32, "genres": pl.List(pl.String)}
    assert data.item_metadata.row(data.items.find(1)) == (
        "Clockwork Parade", 1995, ["Adventure", "Animation", "Children", "Comedy", "Fantasy"],
    )  # fmt: skip
    assert data.item_metadata.row(data.items.find(2)) == ("Lantern Keeper, The", 1994, ["Drama"])
    assert data.item_metadata.row(data.items.find(3)) == ("Café Minuit", 1957, ["Film-Noir", "Romance"])
    assert data.item_metadata.row(data.items.find(114335)) == ("Paper Tie", 1957, [])
    assert data.item_metadata.row(data.items.find(40697)) == ("Station Nine", None, ["Sci-Fi"])
    assert len(data.item_metadata["genres"].explode().drop_nulls().unique()) == len(movielens.GENRES) == 19
    five = read_interactions(folder / "ratings.csv", min_weight=5)
    assert len(five) == movielens.FIVE_STAR == 809
    assert five.item_metadata["title"].null_count() == 0
    assert triples(data)[(1, 1)] == (3.0, 901007304.0)


def test_years_are_split_from_titles(write, tmp_path):
    titles = {
        "Toy Story (1995)": ("Toy Story", 1995),
        "Babylon 5": ("Babylon 5", None),
        "Show (2006–2007)": ("Show", 2006),
        "Show, The (1975-1979)": ("Show, The", 1975),
        "Going On (2005-)": ("Going On", 2005),
        "Terrible Joe Moran (1984) ": ("Terrible Joe Moran", 1984),
        "2001: A Space Odyssey (1968)": ("2001: A Space Odyssey", 1968),
        "Dinner (and a) Movie": ("Dinner (and a) Movie", None),
        "Land Before Time III (1995) (V)": ("Land Before Time III", 1995),
        "Twice (1990) (2000)": ("Twice (1990)", 2000),
    }
    rows = "".join(f'{number},"{title}",Drama|War\n' for number, title in enumerate(titles, start=1))
    write("movieId,title,genres\n" + rows, "movies.csv")
    write(
        "userId,movieId,rating,timestamp\n" + "".join(f"1,{n},5,9\n" for n in range(1, 1 + len(titles))),
        "ratings.csv",
    )
    data = read_interactions(tmp_path)
    assert data.item_metadata.select("title", "year").rows() == list(titles.values())
    assert data.item_metadata["genres"].to_list() == [["Drama", "War"]] * len(titles)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"], ids=["1M", "10M"])
@pytest.mark.parametrize("named", ["", "ratings.dat"], ids=["folder", "file"])
def test_movielens_1m_and_10m(encoding, named, write, tmp_path):
    write("1::1193::5::978300760\n1::661::3.5::978302109\n2::1193::4::978298413\n", "ratings.dat")
    movies = "1193::Léon: The Professional (a::b) (1994)::Crime|Drama\n661::Cité (1995)::(no genres listed)\n"
    write(movies.replace("a::b", "a:b").encode(encoding), "movies.dat")
    data = read_interactions(tmp_path / named)
    assert triples(data) == {
        (1, 1193): (5.0, 978300760.0), (1, 661): (3.5, 978302109.0), (2, 1193): (4.0, 978298413.0),
    }  # fmt: skip
    assert data.item_metadata.rows() == [
        ("Cité", 1995, []), ("Léon: The Professional (a:b)", 1994, ["Crime", "Drama"]),
    ]  # fmt: skip


def test_movielens_100k(write, tmp_path):
    write("196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t242\t1\t878887116\n", "u.data")
    flags = {242: "0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0", 302: "1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|1"}
    rows = [
        f"242|Kolya (1996)|24-Jan-1997||http://x|{flags[242]}",
        f"302|Misérables, Les (1995)|01-Jan-1995||http://y|{flags[302]}",
    ]
    write("\n".join(rows).encode("latin-1"), "u.item")
    data = read_interactions(tmp_path)
    assert triples(data) == {
        (196, 242): (3, 881250949),
        (186, 302): (3, 891717742),
        (22, 242): (1, 878887116),
    }
    assert data.item_metadata.rows() == [("Kolya", 1996, ["Comedy"]), ("Misérables, Les", 1995, ["Western"])]


def test_incomplete_and_malformed_movielens_files(write, tmp_path):
    write("1::2::5::9\n", "ratings.dat")
    assert read_interactions(tmp_path).item_metadata is None  # no movies beside it
    path = write("2::A (1999)::War\n3::B\n", "movies.dat")
    assert error_of(tmp_path) == f"line 2 of {path} is not a movie of MovieLens: '3::B'"
    path = write("", "movies.dat")
    assert error_of(tmp_path) == f"{path} is empty"
    path = write("1,2,5,9\n", "ratings.dat")
    assert error_of(path) == f"{path} has 1 fields in a row, not the 7 that MovieLens has there"
    write(CSV.replace("userId", "who"), "ratings.csv")
    write("name,price\nx,2\n", "movies.csv")  # someone's own tables, which only bear the names
    assert read_interactions(tmp_path / "ratings.csv", user="who").item_metadata is None


def test_movies_file_as_items(write):
    movies = write('movieId,title,genres\n10,"Ten, The (2010)",Drama\n', "movies.csv")
    data = read_interactions(FRAME.rename({"movieId": "item"}), items=movies)
    assert data.item_metadata.rows() == [("Ten, The", 2010, ["Drama"]), (None, None, None)]
