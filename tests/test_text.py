"""Text: encoders and their cache, BM25 and spelling, hybrid search, and the cold start of items."""

import dataclasses
import importlib.util
import json
import sqlite3
import sys
import types
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import ollama
import segue
from segue.data.ids import IdMap
from segue.data.interactions import Interactions
from segue.errors import DataError, EncoderError, MissingExtraError, SettingError, UnknownIdError
from segue.text import static
from segue.text.cache import encode_cached
from segue.text.documents import build_documents, tokenize
from segue.text.encoders import parse_encoder
from segue.text.index import TextMatches, personalize
from segue.text.lexical import LexicalIndex
from segue.text.ollama import Ollama
from segue.text.ridge import RidgeMap
from segue.text.spelling import spellings

FILMS = pl.DataFrame(
    {
        "item_id": range(10, 22),
        "title": [
            "Die Hard (1988)", "Die Hard 2 (1990)", "Dye House (1970)", "Hackers (1995)", "Hacks (1997)",
            "Matrix, The (1999)", "Toy Story (1995)", "Amélie (2001)", "Hard Times (1975)", "Jaws (1975)",
            None, "Groundhog Day (1993)",
        ],
        "genres": [
            "Action|Thriller", "Action", "Drama", "Crime", "Comedy", "Action|Sci-Fi", "Animation|Children",
            "Romance", "Drama", "Thriller", None, "Comedy",
        ],
        "extract": [
            "A police officer fights terrorists in a skyscraper.", "The officer fights at an airport.",
            "Colours in a factory.", "Young people break into computers.", "A television writer in trouble.",
            "A hacker learns that the world is simulated.", "Toys come to life.", "A waitress in Paris.",
            "A street boxer in the depression.", "A giant shark attacks bathers.", None,
            "A man lives the same day again and again.",
        ],
    }
)  # fmt: skip
ALL = segue.Text(columns="title,genres,extract")
TITLES = build_documents(FILMS, "title")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "text"


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGUE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return segue.Recommender(ALL).fit(segue.read_items(FILMS))


@pytest.fixture
def server():
    with ollama.server() as running:
        yield running


class RecordingEncoder:
    """An encoder that records its texts, and fails after `fails_at` of them."""

    batch = 2

    def __init__(self, key="recording", fails_at=None, dim=3):
        self.key, self.fails_at, self.dim, self.texts = key, fails_at, dim, []

    def encode(self, texts, *, query=False):
        if self.fails_at is not None and len(self.texts) >= self.fails_at:
            raise EncoderError("http://nowhere did not answer")
        self.texts += texts
        return np.array([[len(text)] * self.dim for text in texts], np.float32)


# Documents


def test_titles_and_other_text():
    titles, bodies = build_documents(FILMS, "title,genres,extract")
    assert titles[:2] == ["Die Hard", "Die Hard 2"]
    assert titles[5] == "The Matrix"
    assert titles[10] == ""
    assert bodies[0] == "1988. Action, Thriller. A police officer fights terrorists in a skyscraper."
    assert bodies[10] == ""
    table = pl.DataFrame({"tags": [["a", None, "b"], []], "name": ["x", "y"], "year": [1990, None]})
    assert build_documents(table, "tags,name,year") == (["x", "y"], ["a, b. 1990", ""])
    assert build_documents(table, "year,tags") == (["1990", ""], ["a, b", ""])


def test_documents_reject_missing_columns_and_empty_text():
    with pytest.raises(DataError, match="no column 'plot'; there are item_id, title, genres, extract"):
        build_documents(FILMS, "title,plot")
    with pytest.raises(DataError, match=r"the items have no metadata; give a table with title \(items=\)"):
        build_documents(None, "title")
    with pytest.raises(DataError, match="no item has any text in title"):
        build_documents(pl.DataFrame({"title": [None, " "]}), "title")
    with pytest.raises(DataError, match=r"holds Struct.*not text; cast it first"):
        build_documents(pl.DataFrame({"title": [{"a": 1}]}), "title")
    with pytest.raises(
        SettingError, match="columns=' , ' names no column; name some, such as 'title,genres'"
    ):
        segue.Text(columns=" , ")


def test_tokenize():
    assert tokenize("Amélie's  Café—WALL·E_2") == ["amelies", "cafe", "wall", "e", "2"]
    assert tokenize("Ⅳ ﬁn Straße") == ["iv", "fin", "strasse"]
    assert tokenize("?! …") == []


# Encoders


def test_the_static_encoder_is_the_mean_of_token_vectors():
    encoder = parse_encoder("static")
    texts = ["die hard", "", "a giant shark", "die hard", "語 é 🎬"]
    result = encoder.encode(texts)
    tokenizer, vectors = static._load()
    assert result.shape == (5, 256)
    assert result.dtype == np.float32
    for text, row in zip(texts, result, strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        expected = vectors[ids].mean(0) if ids else np.zeros(256)
        np.testing.assert_allclose(row, expected, atol=1e-5)
    assert encoder.encode([]).shape == (0, 256)


def test_unknown_and_missing_encoders(monkeypatch):
    with pytest.raises(SettingError, match="there is no encoder 'bert'; there are static, sentence-transf"):
        parse_encoder("bert")
    with pytest.raises(SettingError, match="the static encoder has one model only, not 'x'"):
        parse_encoder("static:x")
    with pytest.raises(SettingError, match="ollama needs the name of a model"):
        parse_encoder("ollama")
    with pytest.raises(
        SettingError,
        match="sentence-transformers needs the name of a model",
    ):
        parse_encoder("sentence-transformers:")
    monkeypatch.setattr("segue.text.static.find_spec", lambda name: None)
    monkeypatch.setattr("segue.text.sentence_transformers.find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r'wordllama, which is not installed: pip install "segue\[text\]"'
    ):
        parse_encoder("static")
    with pytest.raises(MissingExtraError, match=r'pip install "segue\[sentence-transformers\]"'):
        parse_encoder("sentence-transformers:m")


@pytest.mark.parametrize("missing", ["bm25s", "rapidfuzz.distance"])
def test_missing_libraries(missing, films, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    needs = missing.partition(".")[0]
    with pytest.raises(
        MissingExtraError, match=rf'{needs}, which is not installed: pip install "segue\[text\]"'
    ):
        LexicalIndex.build(TITLES, 2.0) if needs == "bm25s" else films.search("dye hard")


def test_sentence_transformers_encode_queries_and_items(monkeypatch):
    class Model:
        def __init__(self, name):
            if name == "none":
                raise OSError("none is not a folder\nand more")

        def encode_query(self, texts, **options):
            return np.full((len(texts), 2), 1, np.float64)

        def encode_document(self, texts, **options):
            assert options == {"show_progress_bar": False, "convert_to_numpy": True}
            return np.full((len(texts), 2), 2, np.float64)

    fake = types.ModuleType("sentence_transformers")
    fake.SentenceTransformer = Model
    fake.__spec__ = importlib.util.spec_from_loader("sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "sentence_transformers", fake)
    encoder = parse_encoder("sentence-transformers:some/model")
    assert encoder.encode(["a", "b"]).tolist() == [[2, 2], [2, 2]]
    assert encoder.encode(["a"], query=True).tolist() == [[1, 1]]
    assert encoder.encode(["a"]).dtype == np.float32
    with pytest.raises(EncoderError, match="has no model 'none': none is not a folder; give a name"):
        parse_encoder("sentence-transformers:none").encode(["a"])


def test_ollama_returns_vectors(server):
    encoder = Ollama("nomic-embed-text", server.url + "/")
    result = encoder.encode(["a", "b"])
    assert result.dtype == np.float32
    np.testing.assert_allclose(
        result, [ollama.vector_of(f"search_document: {text}") for text in "ab"], rtol=1e-6
    )
    encoder.encode(["c"], query=True)
    assert server.requests == [["search_document: a", "search_document: b"], ["search_query: c"]]


def test_ollama_retries(server):
    encoder = Ollama("nomic-embed-text", server.url, pause=0.001)
    server.answers = [(503, b"busy"), (429, b"{}"), (500, b'{"error": "loading"}'), (200, b"{cut")]
    assert encoder.encode(["a"]).shape == (1, ollama.DIM)
    assert len(server.requests) == 1
    server.answers = [(500, b'{"error": "out of memory"}')] * 5
    with pytest.raises(
        EncoderError,
        match=rf"^{server.url}/api/embed did not answer in 5 tries: 500 out of memory; "
        "start the server with `ollama serve`, or set OLLAMA_HOST to its address$",
    ):
        encoder.encode(["a"])
    assert not server.answers


def test_ollama_unknown_model(server):
    with pytest.raises(
        EncoderError,
        match=r'/api/embed refused: 404 model "m" not found, try pulling it first; fetch .* `ollama pull m`',
    ):
        Ollama("m", server.url).encode(["a"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"embeddings": [[1, 2]]}', r"returned vectors of shape \(1, 2\) for 2 texts"),
        (b'{"embeddings": [[1, 2], [3]]}', r"returned .* instead of vectors"),
        (b'{"embeddings": [[1, NaN], [3, 4]]}', "returned vectors of shape"),
        (b'{"embeddings": [[], []]}', "returned vectors of shape"),
        (b'{"hello": 1}', r"returned \"{'hello': 1}\" instead of vectors"),
        (b"[]", r"returned .* instead of vectors"),
    ],
)
def test_ollama_invalid_responses(server, body, message):
    server.answers = [(200, body)]
    with pytest.raises(EncoderError, match=message):
        Ollama("nomic-embed-text", server.url).encode(["a", "b"])


def test_ollama_host(monkeypatch):
    monkeypatch.delenv("OLLAMA_HOST", raising=False)
    assert Ollama("m").url == "http://localhost:11434"
    for given_host, url in (
        ("box", "http://box:11434"),
        ("box:80", "http://box:80"),
        ("https://a/b/", "https://a/b"),
    ):
        monkeypatch.setenv("OLLAMA_HOST", given_host)
        assert Ollama("m").url == url
    with pytest.raises(
        SettingError,
        match="'ftp://a' is not the address of an Ollama server; give one such as http://localhost",
    ):
        Ollama("m", "ftp://a")


def test_ollama_unreachable():
    with pytest.raises(
        EncoderError, match=r"http://127.0.0.1:9/api/embed did not answer in 5 tries: .*refused"
    ):
        Ollama("m", "http://127.0.0.1:9", pause=0.001).encode(["a"])


# The cache


def test_nothing_is_encoded_twice(tmp_path):
    encoder = RecordingEncoder()
    steps = []
    result = encode_cached(
        encoder, ["a", "bbb", " ", "a", ""], folder=tmp_path, progress=lambda *step: steps.append(step[:3])
    )
    assert result.tolist() == [[1] * 3, [3] * 3, [0] * 3, [1] * 3, [0] * 3]
    assert encoder.texts == ["a", "bbb"]
    assert steps == [("embedding", 0, 2), ("embedding", 2, 2)]
    again = RecordingEncoder()
    np.testing.assert_array_equal(encode_cached(again, ["bbb", "cc", "a"], folder=tmp_path)[:, 0], [3, 2, 1])
    assert again.texts == ["cc"]
    other = RecordingEncoder(key="other")
    encode_cached(other, ["a"], folder=tmp_path)
    assert other.texts == ["a"]
    assert encode_cached(encoder, [], folder=tmp_path).shape == (0, 0)
    assert encode_cached(encoder, ["", " "], folder=tmp_path).shape == (2, 0)


def test_interrupted_encoding_continues(tmp_path):
    texts = [str(10**n) for n in range(7)]
    with pytest.raises(
        EncoderError,
        match=r"^http://nowhere did not answer. 4 of 7 texts are stored in .*; repeat the call to continue",
    ):
        encode_cached(RecordingEncoder(fails_at=4), texts, folder=tmp_path)
    rest = RecordingEncoder()
    assert encode_cached(rest, texts, folder=tmp_path)[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert rest.texts == texts[4:]


def test_a_fit_continues_after_an_ollama_failure(server, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    monkeypatch.setattr("segue.text.ollama.PAUSE", 0.001)
    monkeypatch.setattr("segue.text.ollama.time.sleep", lambda seconds: None)
    many = pl.DataFrame({"item_id": range(200), "title": [f"film {n}" for n in range(200)]})
    recommender = segue.Recommender(segue.Text(columns="title", encoder="ollama:nomic-embed-text"))
    server.after = 2
    with pytest.raises(EncoderError, match=r"503 server busy.* 128 of 200 texts are stored in"):
        recommender.fit(segue.read_items(many))
    server.after = None
    trained = recommender.fit(segue.read_items(many))
    assert [len(request) for request in server.requests] == [64, 64, 64, 8]
    assert trained.embeddings.items.shape == (200, ollama.DIM)
    assert trained.search("film 77", 1, by="words")["item_id"].item() == 77
    assert trained.search("film 7", 1).height == 1
    assert server.requests[-1] == ["search_query: film 7"]


def test_unusable_caches(tmp_path):
    encode_cached(RecordingEncoder(), ["a"], folder=tmp_path)
    with pytest.raises(
        DataError,
        match=r"vectors of 3 and 4 dimensions are mixed in .*: another encoder",
    ):
        encode_cached(RecordingEncoder(dim=4), ["a", "b"], folder=tmp_path)
    (file,) = tmp_path.glob("recording-*.sqlite")
    with sqlite3.connect(file) as store:
        store.execute("UPDATE vectors SET vector = x'010203'")
    store.close()
    repaired = RecordingEncoder(dim=4)
    assert encode_cached(repaired, ["a"], folder=tmp_path).tolist() == [[1] * 4]
    file.write_bytes(b"this is no database" * 100)
    for beside in tmp_path.glob("*-wal"):
        beside.unlink()
    with pytest.raises(
        DataError, match=r"cannot use the cache .*recording-\w+.sqlite: file is not a database; delete it"
    ):
        encode_cached(RecordingEncoder(), ["a"], folder=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot use the cache .*; set SEGUE_CACHE"):
        encode_cached(RecordingEncoder(), ["a"], folder=tmp_path / "file")


# Words


def naive_bm25(texts, query, k1=1.5, b=0.75):
    """Lucene's BM25, as the paper of bm25s gives it."""
    counts = [len(text) for text in texts]
    mean = sum(counts) / len(texts)
    scores = np.zeros(len(texts))
    for term in query:
        having = sum(term in text for text in texts)
        idf = np.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for row, text in enumerate(texts):
            tf = text.count(term)
            scores[row] += idf * tf / (tf + k1 * (1 - b + b * counts[row] / mean))
    return scores


def test_scores_are_bm25():
    titles, bodies = build_documents(FILMS, "title,genres,extract")
    lexical = LexicalIndex.build(build_documents(FILMS, "title,genres,extract"), 3.0)
    padded = [["^", *tokenize(title), "$"] for title in titles]
    titled = [
        [*tokenize(title), *(f"{a} {b}" for a, b in pairwise(row) if title)]
        for title, row in zip(titles, padded, strict=True)
    ]
    bodies = [tokenize(body) for body in bodies]
    for query in ("hard", "officer skyscraper"):
        parts = query.split()
        sides = ["^", *parts, "$"]
        pairs = [f"{a} {b}" for a, b in pairwise(sides)]
        expected = 3 * naive_bm25(titled, parts + pairs) + naive_bm25(bodies, parts)
        np.testing.assert_allclose(lexical.scores(lexical.parse(query)), expected, rtol=1e-4, atol=1e-5)


def test_spelling_correction():
    known = {
        3: ["die", "dye"],
        4: ["hard", "herd", "1995", "1996"],
        5: ["hacks"],
        7: ["hackers"],
        9: ["hijackers"],
    }
    assert spellings("dye", known) == {"dye": 1.0, "die": 0.5}
    assert spellings("hakcers", known) == {"hakcers": 1.0, "hackers": 0.5}
    assert spellings("hackers", known) == {"hackers": 1.0, "hijackers": 0.25, "hacks": 0.25}
    assert spellings("1995", known) == {"1995": 1.0}
    assert spellings("di", known) == {"di": 1.0}
    lexical = LexicalIndex.build(TITLES, 2.0)
    for typed, meant in {
        "dye hard": "die hard", "die hard": "die hard", "dye": "dye", "hackrs": "hackers",
        "tyo stroy": "toy story", "groundhg dya": "groundhog day", "xqzv": "xqzv",
        "hard times": "hard times", "amelei": "amelie",
    }.items():  # fmt: skip
        assert lexical.parse(typed).text == meant
    assert lexical.parse("Die HARD!").text == "Die HARD!"


def test_items_without_words():
    lexical = LexicalIndex.build(build_documents(pl.DataFrame({"title": ["?!", "…"]}), "title"), 2.0)
    assert lexical.scores(lexical.parse("anything")).tolist() == [0, 0]


# Search


def search_ids(films, query, **options):
    return films.search(query, **options)["item_id"].to_list()


@pytest.mark.parametrize("by", ["words", "both"])
@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("die hard", [10, 11]), ("dye hard", [10, 11]), ("Hackers", [13]), ("hackrs", [13]),
        ("the matrix", [15]), ("matrix the", [15]), ("amelie", [17]),
        ("skyscraper terrorists", [10]), ("Toys", [16]),
    ],
)  # fmt: skip
def test_search_finds(films, query, first, by):
    assert search_ids(films, query, by=by)[: len(first)] == first


def test_search_by_meaning(films):
    assert search_ids(films, "fish in the ocean biting swimmers", by="meaning")[0] == 19
    scores = films.search("shark", 3, by="meaning")["score"]
    assert scores.is_sorted(descending=True)
    vector = films.texts.encode_query("shark")
    np.testing.assert_allclose(np.linalg.norm(vector), 1, rtol=1e-5)
    np.testing.assert_allclose(scores, np.sort(films.texts.vectors @ vector)[::-1][:3], rtol=1e-4)


def test_both_is_reciprocal_rank_fusion(films):
    texts, query = films.texts, "officer hard"
    expected = dict.fromkeys(range(12), 0.0)
    for by in ("words", "meaning"):
        for rank, row in enumerate(texts.search(query, 12, by=by)[0], start=1):
            expected[row] += 1 / (60 + rank)
    rows, scores = texts.search(query, 12)
    assert rows.tolist() == sorted(expected, key=lambda row: (-np.float32(expected[row]), row))
    np.testing.assert_allclose(scores, [expected[row] for row in rows], rtol=1e-5)


@pytest.mark.parametrize("by", ["words", "meaning", "both"])
def test_filters_and_depth(films, by):
    assert 10 not in search_ids(films, "die hard", by=by, exclude=[10, 999])
    allowed = search_ids(films, "hard officer", by=by, allow=[10, 11, 20])
    assert set(allowed) == ({10, 11} if by == "words" else {10, 11, 20})
    assert search_ids(films, "hard", by=by, k=1) == search_ids(films, "hard", by=by)[:1]
    assert len(search_ids(films, "hard", by=by, k=99)) == (3 if by == "words" else 12)
    frame = films.search("die hard", 2, by=by)
    assert frame.columns == ["item_id", "score", "rank", "title"]
    assert frame["rank"].to_list() == [1, 2]


def test_invalid_searches(films):
    for query in ("", "  ", "?!"):
        with pytest.raises(SettingError, match="has no words: say what to look for"):
            films.search(query)
    with pytest.raises(SettingError, match="by='luck' must be one of 'words', 'meaning', 'both'"):
        films.search("x", by="luck")
    with pytest.raises(SettingError, match="k=0 must be a whole number of at least 1"):
        films.search("x", 0)
    with pytest.raises(DataError, match="by='words' needs text, and the model was fit without; fit it with"):
        dataclasses.replace(films, texts=None).search("x", by="words")
    with pytest.raises(UnknownIdError, match="unknown user: 'u'"):
        films.search("x", user="u")
    assert search_ids(films, "qqqq", by="words") == []
    assert len(search_ids(films, "qqqq", k=5)) == 5


def test_an_parse_encoder_other_vectors(films):
    other = dataclasses.replace(films.texts, mean=np.zeros(3, np.float32))
    with pytest.raises(
        SettingError,
        match="static gives vectors of 256 dimensions, but the items' vectors have 3:",
    ):
        other.search("x", 1)


def test_personalization():
    rows, scores, taste = np.arange(4), np.array([4.0, 3, 2, 1]), np.array([0.0, 0, 0, 9])
    matches = TextMatches(rows, scores)
    assert personalize(matches, taste, 0, 4)[0].tolist() == [0, 1, 2, 3]
    assert personalize(matches, taste, 1, 2)[0].tolist() == [3, 0]
    half = 0.5 * (scores - 2.5) / scores.std() + 0.5 * (taste - 2.25) / taste.std()
    reranked = personalize(matches, taste, 0.5, 4)
    np.testing.assert_allclose(reranked.scores, np.sort(half)[::-1], rtol=1e-6)
    assert personalize(TextMatches(rows[:0], scores[:0]), taste[:0], 0.5, 3)[0].size == 0
    for wrong in (-0.1, 1.1, True, float("nan"), "x"):
        with pytest.raises(SettingError, match="must be a number from 0 to 1"):
            personalize(matches, taste, wrong, 2)


# Models


def liking(likes):
    """Interactions of users with the films, by their ids."""
    items = IdMap(FILMS["item_id"], noun="item")
    rows = [(user, film) for user, films in enumerate(likes) for film in films]
    matrix = sp.csr_matrix(
        (
            np.ones(len(rows), np.float32),
            ([user for user, _ in rows], items.rows([film for _, film in rows])),
        ),
        (len(likes), len(items)),
    )
    result = Interactions(matrix, IdMap(range(1, len(likes) + 1), noun="user"), items)
    return result.with_metadata(FILMS, "item_id")


def test_text_as_a_model():
    trained = segue.Recommender(ALL).fit(liking([[10], [10, 19], []]))
    vectors = trained.embeddings
    np.testing.assert_allclose(vectors.users[0], vectors.items[0], rtol=1e-5, atol=1e-6)
    both = vectors.items[0] + vectors.items[9]
    np.testing.assert_allclose(vectors.users[1], both / np.linalg.norm(both), rtol=1e-5, atol=1e-6)
    assert not vectors.users[2].any()
    assert not vectors.items[10].any()
    assert trained.recommend([1], 1)["item_id"].item() == 11
    assert trained.recommend_for([10], 1)["item_id"].item() == 11
    assert trained.similar([10], 1)["neighbor_id"].item() == 11


def test_a_table_of_items_alone(films, tmp_path):
    assert len(films.users) == 0
    assert films.similar([10], 1)["neighbor_id"].item() == 11
    saved = films.save(tmp_path / "m")
    loaded = segue.load(tmp_path / "m")
    assert loaded.texts.settings == ALL
    assert loaded.version == saved.version
    for question in (
        lambda one: one.search("dye hard"), lambda one: one.search("sea", by="meaning"),
        lambda one: one.recommend_for([10, 13], 4), lambda one: one.similar(k=2),
    ):  # fmt: skip
        assert_frame_equal(question(films), question(loaded), check_exact=True)
    stored = segue.store.open_model(tmp_path / "m")
    assert "text.vectors.vectors" not in stored.arrays


def test_text_beside_another_model(tmp_path):
    data = liking([[10, 11, 15], [10, 11, 19], [16, 17, 21], [16, 17, 13], [10, 11]])
    trained = segue.Recommender(segue.IALS(dim=3)).fit(data, text=ALL)
    assert search_ids(trained, "die hard")[:2] == [10, 11]
    trained.save(tmp_path / "m")
    loaded = segue.load(tmp_path / "m")
    assert_frame_equal(loaded.search("hard", user=3, bend=0.5), trained.search("hard", user=3, bend=0.5))
    by_taste = loaded.search("film", 12, by="meaning", user=3, bend=1)["item_id"].to_list()
    taste = dict(zip(data.items.ids, loaded.embeddings.items @ loaded.embeddings.users[2], strict=True))
    ordered = sorted(taste.values(), reverse=True)
    np.testing.assert_allclose([taste[film] for film in by_taste], ordered, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"title_weight": 1.5}, r"Text\(title_weight=1.5\) must be between 0 and 1"),
        ({"title_weight": -1.0}, r"Text\(title_weight=-1.0\) must be at least 0.0"),
        ({"title_words": float("nan")}, r"Text\(title_words=nan\) must be at least 0.0"),
    ],
)
def test_settings(settings, message):
    with pytest.raises(SettingError, match=message):
        segue.Text(**settings)


def test_title_weight(films):
    built = segue.Text(columns="title,genres,extract", title_weight=1.0).build(FILMS)
    plain = segue.Text(columns="title").build(
        FILMS.with_columns(pl.col("title").str.replace(r" \(\d+\)", ""))
    )
    np.testing.assert_allclose(built.vectors[0], plain.vectors[0], atol=1e-3)
    assert not np.allclose(built.vectors[0], films.texts.vectors[0], atol=0.1)


# New items


def test_the_map_is_ridge_regression():
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((60, 4)).astype(np.float32)
    counts = rng.integers(0, 30, 60).astype(np.float64)
    items = (texts @ rng.standard_normal((4, 3)) + 2 + 0.3 * rng.standard_normal((60, 3))).astype(np.float32)
    result = RidgeMap.fit(texts, items, counts)
    root = np.sqrt(counts / (counts + 10))[:, None]
    ones = np.concatenate([texts, np.ones((60, 1))], 1)
    penalty = np.diag([result.penalty] * 4 + [0])
    solved = np.linalg.solve((root * ones).T @ (root * ones) + penalty, (root * ones).T @ (root * items))
    np.testing.assert_allclose(result.matrix, solved[:4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.shift, solved[4], rtol=1e-5, atol=1e-6)
    assert result.predict(texts[:2]).dtype == np.float32


@pytest.mark.parametrize("dim", [1, 2, 5, 13])
def test_ridge_recovers_a_planted_map_and_shrinks_noise(dim):
    rng = np.random.default_rng(dim)
    texts = rng.standard_normal((400, 7)).astype(np.float32)
    planted = rng.standard_normal((7, dim))
    counts = np.full(400, 50.0)
    exact = RidgeMap.fit(texts, (texts @ planted + 1).astype(np.float32), counts)
    np.testing.assert_allclose(exact.predict(texts[:5]), texts[:5] @ planted + 1, rtol=1e-2, atol=1e-2)
    noise = RidgeMap.fit(texts, rng.standard_normal((400, dim)).astype(np.float32), counts)
    assert noise.penalty > exact.penalty
    assert np.abs(noise.matrix).max() < 0.2


def test_ridge_without_data_predicts_the_mean():
    items = np.array([[1.0, 3], [3, 5]], np.float32)
    for texts, counts in ((np.zeros((2, 4)), np.ones(2)), (np.ones((2, 4)), np.zeros(2))):
        result = RidgeMap.fit(texts.astype(np.float32), items, counts)
        assert result.predict(np.ones((1, 4), np.float32)).tolist() == [[2, 4]]


def test_new_items_by_their_text(tmp_path):
    data = liking([[10, 11, 15], [10, 11, 19], [16, 17, 21], [16, 17, 13], [10, 11], [16, 17]])
    trained = segue.Recommender(segue.IALS(dim=2, reg=0.01)).fit(data, text=ALL)
    new = {
        "title": ["Die Hard 3 (1995)", "Toy Story 2 (1999)"],
        "genres": ["Action|Thriller", "Animation|Children"],
        "extract": ["The police officer fights terrorists in a city.", "Toys come to life once more."],
    }
    grown = trained.with_items([50, 51], texts=new)
    assert len(grown.items) == 14
    expected = RidgeMap.fit(trained.texts.vectors, trained.embeddings.items, np.array(data.matrix.sum(0))[0])
    np.testing.assert_allclose(
        grown.embeddings.items[12:], expected.predict(grown.texts.vectors[12:]), rtol=1e-5, atol=1e-6
    )
    action, toys = grown.predict([5, 6], [50, 50]), grown.predict([5, 6], [51, 51])
    assert action[0] > action[1]
    assert toys[1] > toys[0]
    assert grown.search("die hard 3", 1)["item_id"].item() == 50
    assert grown.search("toy story", 2)["item_id"].to_list() == [16, 51]
    assert grown.titles(np.array([13])).to_list() == ["Toy Story 2 (1999)"]
    np.testing.assert_array_equal(grown.texts.vectors[:12], trained.texts.vectors)
    loaded = segue.load(grown.save(tmp_path / "m") and tmp_path / "m")
    assert_frame_equal(loaded.search("toys"), grown.search("toys"), check_exact=True)
    again = loaded.with_items([60], texts=pl.DataFrame(new).head(1))
    assert search_ids(again, "die hard 3", k=2) == [50, 60]


def test_new_items_of_a_text_model_have_their_text_vectors(films):
    grown = films.with_items([99], texts={"title": "Zork", "genres": "Horror", "extract": "A monster."})
    np.testing.assert_array_equal(grown.embeddings.items, grown.texts.vectors)
    assert grown.search("zork", 1)["item_id"].item() == 99


def test_invalid_new_items(films):
    new = {"title": "Zork", "genres": "Horror", "extract": "A monster."}
    with pytest.raises(SettingError, match="with_items takes either features= or texts="):
        films.with_items([99])
    with pytest.raises(SettingError, match="with_items takes either features= or texts="):
        films.with_items([99], {"a": 1}, texts=new)
    with pytest.raises(DataError, match="1 rows of texts do not fit 2 new items"):
        films.with_items([98, 99], texts=new)
    with pytest.raises(DataError, match="the item 10 is in the model already"):
        films.with_items([10], texts=new)
    with pytest.raises(DataError, match="the items have no column 'extract'; there are title, genres"):
        films.with_items([99], texts={"title": "Zork", "genres": "Horror"})
    with pytest.raises(DataError, match=r"the column 'title' holds Struct.*, not text; cast it first"):
        films.with_items([99], texts={**new, "title": [{"name": "Zork"}]})
    with pytest.raises(DataError, match="the model was fit without text"):
        dataclasses.replace(films, texts=None).with_items([99], texts=new)


def test_new_items_by_features_have_no_text():
    data = liking([[10, 11, 15], [10, 11, 19], [16, 17, 21], [16, 17, 13]])
    features = segue.Features.from_frame(FILMS, "genres", ids=data.items)
    trained = segue.Recommender(segue.WARP(dim=4, epochs=1)).fit(data, item_features=features, text=ALL)
    grown = trained.with_items([50], {"genres": "Action"})
    assert grown.search("die hard", 1)["item_id"].item() == 10
    assert not grown.texts.vectors[12].any()
    assert 50 in search_ids(grown, "die hard", k=13)


@given(
    st.lists(st.text(max_size=20), min_size=1, max_size=8).filter(lambda texts: any(map(str.strip, texts)))
)
def test_any_text_can_be_indexed(texts):
    lexical = LexicalIndex.build(
        build_documents(pl.DataFrame({"title": texts}, schema={"title": pl.String}), "title"), 2.0
    )
    for query in texts:
        scores = lexical.scores(lexical.parse(query))
        assert scores.shape == (len(texts),)
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()


# Reading items


def test_items_from_json(tmp_path):
    import gzip

    rows = [{"item_id": 1, "title": "A", "tags": ["x"]}, {"item_id": 2, "title": None, "year": 1999}]
    lines = "\n".join(map(json.dumps, rows)).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.json").write_bytes(json.dumps(rows).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    for name in ("a.jsonl", "a.json", "a.jsonl.gz"):
        data = segue.read_items(tmp_path / name)
        assert data.items.ids.tolist() == [1, 2]
        assert data.item_metadata.rows() == [("A", ["x"], None), (None, None, 1999)]
        assert data.matrix.shape == (0, 2)
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(lines)[:-9])
    (tmp_path / "empty.json").write_bytes(b" ")
    (tmp_path / "bad.json").write_bytes(b"[{")
    (tmp_path / "none.json").write_bytes(b"[]")
    for name, message in {
        "cut.jsonl.gz": "is truncated or damaged", "empty.json": "is empty",
        "bad.json": "cannot be read as JSON",
        "none.json": "no column that looks like item ids",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=message):
            segue.read_items(tmp_path / name)


def test_unreadable_item_tables():
    with pytest.raises(
        DataError, match=r"the frame of items has no column 'film' \(requested by item=\); its col"
    ):
        segue.read_items(FILMS, item="film")
    with pytest.raises(DataError, match="the frame of items has no items"):
        segue.read_items(FILMS.clear())
    with pytest.raises(DataError, match="the item 10 occurs more than once"):
        segue.read_items(pl.concat([FILMS, FILMS]))
    with pytest.raises(DataError, match=r"0 user\(s\) and 12 item\(s\) leave nothing to learn"):
        segue.Recommender("ials").fit(segue.read_items(FILMS))
