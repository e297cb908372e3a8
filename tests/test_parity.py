"""One list, one code path: every model gives the same lists through every front end."""

import json
from urllib.parse import urlencode

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import segue
from segue.cli import app
from segue.cli.session import Session
from segue.models import MODELS, served_models
from segue.online import Profile
from segue.serve.settings import Settings
from serving import serving
from test_models import settings

USER = 7
HISTORY = [3, 8, 21]
RATINGS = {3: 5.0, 8: 1.5, 21: 3.0}
CASES = {
    "plain": {},
    "long": {"k": 25},
    "filters": {"exclude": [1, 2, 999], "allow": list(range(1, 30)), "exclude_seen": False},
    "where": {"where": ["genres=Drama|Comedy"]},
    "gumbel": {"explore": "gumbel:0.5", "seed": 7},
    "gaussian": {"explore": "gaussian", "seed": 3},
    "buckets": {"explore": "buckets:0.3", "seed": 3},
    "reserved": {"explore": "reserved:3", "seed": 11},
    "mmr": {"diversify": "mmr:0.5"},
    "dpp": {"diversify": "dpp"},
    "reasons": {"explain": True},
    "explored reasons": {"explore": "rank_buckets:2", "seed": 1, "explain": True},
}
QUICK = {"biasedmf", "ials", "warp"}  # ratings, a posterior, biases; all others run in the full tier


@pytest.fixture(scope="module")
def data():
    return segue.data.simulate(50, 40, 700, seed=1)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in served_models()
    ],
)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def folder(model, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity") / "model"
    segue.Recommender(settings(model)).fit(data).save(folder)
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return segue.load(folder)


@pytest.fixture(scope="module")
def server(folder):
    with serving(Settings(str(folder), f"sqlite:///{folder.parent}/events.sqlite")) as server:
        yield server


def comparable(rows):
    """Ids, ranks, scores, propensities and reasons of a list; ids as text, as in JSON."""
    return [
        (
            str(row["item_id"]),
            row["rank"],
            pytest.approx(row["score"], rel=1e-6, abs=1e-6),
            pytest.approx(row.get("propensity", 1.0), rel=1e-6),
            [
                (reason["reason"], str(reason["value"]), pytest.approx(reason["share"], rel=1e-4, abs=1e-6))
                for reason in row.get("reasons") or []
            ],
        )
        for row in rows
    ]


def by_cli(folder, options, *user):
    """The rows that `segue recommend --json` prints."""
    arguments = ["recommend", str(folder), *user, "-k", str(options.get("k", 10)), "--json"]
    for name, value in options.items():
        if name in ("exclude", "allow"):
            arguments += [f"--{name}", ",".join(map(str, value))]
        elif name == "where":
            arguments += [part for condition in value for part in ("--where", condition)]
        elif name == "exclude_seen":
            arguments += ["--include-seen"]
        elif name == "explain":
            arguments += ["--explain"]
        elif name != "k":
            arguments += [f"--{name}", str(value)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    return json.loads(result.stdout)["items"]


def by_query(server, user, options):
    """The rows of `GET /v1/recommend/{user_id}`."""
    query = urlencode(
        {name: str(value).lower() if isinstance(value, bool) else value for name, value in options.items()},
        doseq=True,
    )
    return server.get(f"/v1/recommend/{user}?{query}")["items"]


@pytest.mark.parametrize("case", CASES)
class TestTrainedUsers:
    def test_command_line(self, folder, trained, case):
        expected = trained.recommend(USER, **CASES[case]).to_dicts()
        assert comparable(by_cli(folder, CASES[case], "--user", str(USER))) == comparable(expected)

    def test_http(self, server, trained, case):
        expected = trained.recommend(USER, **CASES[case]).to_dicts()
        assert comparable(by_query(server, USER, CASES[case])) == comparable(expected)
        body = {"users": [USER], **CASES[case]}
        assert comparable(server.post("/v1/recommend", body)["users"][0]["items"]) == comparable(expected)


@pytest.mark.parametrize("case", CASES)
class TestHistories:
    def test_http(self, server, trained, case):
        expected = trained.recommend_for(RATINGS, **CASES[case]).to_dicts()
        body = {"history": {str(item): weight for item, weight in RATINGS.items()}, **CASES[case]}
        assert comparable(server.post("/v1/recommend", body)["items"]) == comparable(expected)

    def test_lists_of_ids(self, model, folder, server, trained, case):
        body = {"history": HISTORY, **CASES[case]}
        if MODELS[model].ratings:
            status, problem = server.call("POST", "/v1/recommend", body)
            assert (status, "learns from ratings" in problem["detail"]) == (422, True)
            with pytest.raises(segue.errors.DataError, match="learns from ratings"):
                trained.recommend_for(HISTORY, **CASES[case])
            return
        expected = comparable(trained.recommend_for(HISTORY, **CASES[case]).to_dicts())
        assert comparable(server.post("/v1/recommend", body)["items"]) == expected
        assert comparable(by_cli(folder, CASES[case], "--history", ",".join(map(str, HISTORY)))) == expected


class TestProfiles:
    """Events that move a profile: over HTTP, at the screen, and as a history in the library."""

    def test_http(self, server, trained):
        for number, (case, options) in enumerate(CASES.items()):
            user = f"new {number}"
            for item in HISTORY:
                event = {"user_id": user, "item_id": str(item), "kind": "like", "time": 1.0}
                server.post("/v1/events", event)
            expected = trained.recommend_for(HISTORY, profile="auto", **options).to_dicts()
            assert comparable(by_query(server, user, options)) == comparable(expected), case

    @pytest.mark.parametrize("panel", ["recommended", "gumbel", "gaussian", "buckets", "mmr"])
    def test_play(self, trained, panel):
        session = Session(trained, Profile("auto", trained.space))
        for number in (2, 4):
            session = session.pick(number, 1.0, 0.0)
        history = [pick.item for pick in session.picks]
        options = {
            "k": session.options.k,
            "explore": panel if panel in segue.online.EXPLORERS else None,
            "diversify": "mmr" if panel == "mmr" else None,
            "seed": session.options.seed + len(history),
        }
        expected = trained.recommend_for(history, profile="auto", **options)
        lists = session.ranked(panel)
        assert trained.items.series.gather(lists.ids[0]).to_list() == expected["item_id"].to_list()
        np.testing.assert_allclose(lists.scores[0], expected["score"], rtol=1e-6)
        if "propensity" in expected.columns:
            np.testing.assert_allclose(lists.propensities[0], expected["propensity"], rtol=1e-6)


@pytest.fixture(scope="module")
def spark():
    from segue.spark.session import session

    spark = session("local[1]")
    yield spark
    spark.stop()


@pytest.mark.spark
@pytest.mark.parametrize("case", CASES)
def test_spark(spark, folder, trained, case):
    from segue.spark.recommend import recommend

    users = [USER, 3, 11]
    frame = spark.createDataFrame([(user,) for user in users], ["user_id"])
    rows = pl.from_arrow(recommend(frame, folder, **CASES[case]).toArrow()).sort("user_id", "rank")
    expected = trained.recommend(users, **CASES[case]).sort("user_id", "rank")
    assert rows["user_id"].to_list() == expected["user_id"].to_list()
    assert comparable(rows.to_dicts()) == comparable(expected.to_dicts())
