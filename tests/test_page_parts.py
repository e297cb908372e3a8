"""The parts of the page: its files and their headers, the item map, facets."""

import numpy as np
import polars as pl
import pytest

import segue
from segue.online import Profile
from segue.serve.pages import page_files
from segue.serve.service.facets import facets
from segue.serve.service.item_map import ItemMap
from segue.serve.service.user_state import UserEvent
from serving import POOL


def test_page_files_are_cached_and_restricted_to_this_origin(paged_server):
    assert set(page_files()) >= {"index.html", "style.css", "main.js", "icon.svg"}
    for path in ["/", *(f"/page/{name}" for name in page_files())]:
        whole = POOL.request("GET", paged_server.url + path)
        assert (whole.status, whole.headers["x-content-type-options"]) == (200, "nosniff")
        policy = whole.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        tag = whole.headers["etag"]
        for sent in (tag, f"W/{tag}", f'"other", {tag}'):
            again = POOL.request("GET", paged_server.url + path, headers={"if-none-match": sent})
            assert (again.status, again.data, again.headers["etag"]) == (304, b"", tag)
        assert (
            POOL.request("GET", paged_server.url + path, headers={"if-none-match": '"other"'}).status == 200
        )
        head = POOL.request("HEAD", paged_server.url + path)
        assert (head.status, head.data, head.headers["content-length"]) == (200, b"", str(len(whole.data)))
    assert POOL.request("GET", paged_server.url + "/").headers["content-type"] == "text/html; charset=utf-8"
    for path in ("/page/nothing.js", "/page/__init__.py", "/page/..%2fapp.py", "/page/"):
        assert POOL.request("GET", paged_server.url + path).status == 404


def test_positions_are_projections_on_the_principal_axes():
    vectors = np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32) * [9, 5, 1, 1, 1] + 1
    item_map = ItemMap.of(vectors)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centered = directions - directions.mean(0)
    axes = np.linalg.svd(centered, full_matrices=False)[2][:2].T
    np.testing.assert_allclose(np.abs(item_map.positions), np.abs(centered @ axes), atol=1e-4)
    np.testing.assert_allclose(item_map.project(vectors * 7), item_map.positions, atol=1e-5)
    np.testing.assert_allclose(
        item_map.project(np.hstack([vectors, vectors[:, :2]])), item_map.positions, atol=1e-5
    )


@pytest.mark.parametrize("dim", [1, 2, 5, 7, 13])
def test_positions_of_every_dimension_are_finite(dim):
    vectors = np.vstack([np.random.default_rng(dim).standard_normal((9, dim)), np.zeros((1, dim))])
    assert ItemMap.of(vectors).positions.shape == (10, 2)
    assert np.isfinite(ItemMap.of(vectors).positions).all()
    assert np.isfinite(ItemMap.of(vectors[:1]).positions).all()


def test_a_path_follows_events_that_move_the_profile(paged_folder):
    trained = segue.load(paged_folder)
    profile = Profile("halflife", trained.space)
    item_map = ItemMap.of(trained.embeddings.item_directions)
    events = [
        UserEvent(4, "5", "like", 1.0, 10.0), UserEvent(9, "10", "seen", 0.0, 20.0),
        UserEvent(-1, "x", "like", 1.0, 30.0),
        UserEvent(7, "8", "like", 1.0, 40.0),
    ]  # fmt: skip
    path = item_map.path(profile, None, events)
    assert path[0] is None
    np.testing.assert_allclose(path[1], item_map.positions[4], atol=1e-3)
    assert path[1] == path[2] == path[3]
    assert path[4] not in (path[3], None)
    assert item_map.path(profile, trained.embeddings.users[0], [])[0] is not None


def test_facets_are_columns_with_few_values():
    table = pl.DataFrame(
        {
            "title": [f"film {one}" for one in range(60)],
            "synopsis": [f"text {one}" for one in range(60)],
            "genres": ["Drama|War", "Drama", "(none)", None] * 15,
            "tags": [["a", "b"], ["b"], [], None] * 15,
            "year": [1990, 1995, None, 2001] * 15,
            "same": [1] * 60,
            "nan": [float("nan"), 1.0, 2.0, float("inf")] * 15,
        }
    )
    found = {one["column"]: one for one in facets(table)}
    assert list(found) == ["genres", "tags", "year", "nan"]
    assert found["genres"]["values"] == [{"value": "Drama", "items": 30}, {"value": "War", "items": 15}]
    assert found["tags"]["values"] == [{"value": "b", "items": 30}, {"value": "a", "items": 15}]
    assert (found["year"]["min"], found["year"]["max"]) == (1990, 2001)
    assert (found["nan"]["min"], found["nan"]["max"]) == (1, 2)
    assert facets(None) == []
    many = facets(pl.DataFrame({"city": [f"c{one % 50}" for one in range(1000)]}))[0]
    assert (len(many["values"]), many["more"]) == (40, 10)
