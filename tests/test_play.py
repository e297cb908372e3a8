"""The interactive session: as values, and as a command fed from a pipe."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import segue
from segue.cli.session import MORE_PANELS, PANELS, Session
from segue.errors import DataError, SettingError, UnknownIdError
from segue.online import DIVERSIFIERS, EXPLORERS, PROFILES, Profile
from segue.recommender.options import ListOptions


@pytest.fixture(scope="module")
def trained():
    return segue.Recommender(segue.IALS(dim=8, iterations=4)).fit(segue.data.simulate(80, 120, 3000, seed=1))


def session(trained, profile="posterior", **options):
    return Session(trained, Profile(profile, trained.space), **options)


def word(trained):
    """A word of some titles."""
    return trained.item_metadata["title"][0].split()[-1]


def test_without_picks_the_recommendations_are_popular(trained):
    shown = session(trained).show()
    assert tuple(shown) == PANELS
    popular = trained.recommend_for([], 5)["item_id"].to_list()
    assert [trained.items[line.row] for line in shown["recommended"]] == popular
    assert {line.reason for line in shown["recommended"]} == {"popular"}
    assert not shown["search"]
    assert not shown["gaussian"]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_pick_changes_every_panel_and_is_the_reason(trained, profile):
    start = session(trained, profile).search(word(trained))
    found = start.show()["search"]
    assert all(word(trained).lower() in start.title(line.row).lower() for line in found)
    after = start.pick(1, 1.0, 10.0)
    assert start.picks == ()
    shown = after.show()
    assert [line.number for lines in shown.values() for line in lines] == list(
        range(1, 1 + sum(map(len, shown.values())))
    )
    for name in ("recommended", "gaussian", "buckets"):
        assert len(shown[name]) == 5
        assert found[0].row not in [line.row for line in shown[name]]
        assert {line.reason for line in shown[name]} == {f"you liked {start.title(found[0].row)}"}
    assert after.undo().picks == ()
    again = after.undo().show()
    assert {name: [line.row for line in lines] for name, lines in again.items()} == {
        name: [line.row for line in lines] for name, lines in start.show().items()
    }


def test_recommendations_are_those_of_the_library(trained):
    played = session(trained, "posterior")
    for number in (1, 2):
        played = played.pick(number, 1.0, 0.0)
    history = [one.item for one in played.picks]
    expected = trained.recommend_for(history, 5)["item_id"].to_list()
    assert [trained.items[line.row] for line in played.show()["recommended"]] == expected


def test_a_dislike_lowers_the_score(trained):
    liked = session(trained).pick(1, 1.0, 0.0)
    target = liked.show()["recommended"][0]
    disliked = liked.pick(target.number, -1.0, 1.0)
    vectors = [one.profile.vectors(one.state).vectors[0] for one in (liked, disliked)]
    before, after = (float(trained.embeddings.items[target.row] @ vector) for vector in vectors)
    assert after < before


@pytest.mark.parametrize("panel", MORE_PANELS)
def test_panels_toggle(trained, panel):
    played = session(trained).pick(1, 1.0, 0.0).toggle(panel)
    assert len(played.show()[panel]) == 5
    assert panel not in played.toggle(panel).show()


def test_thompson_sampling_stays_empty_without_ials(trained):
    other = segue.Recommender(segue.WARP(dim=8, epochs=1, threads=1)).fit(
        segue.data.simulate(80, 120, 3000, seed=1)
    )
    assert session(other, "ema").pick(1, 1.0, 0.0).toggle("thompson").show()["thompson"] == []


def test_a_saved_session_resumes(trained, tmp_path):
    played = session(trained).search(word(trained)).pick(1, 1.0, 5.0).pick(7, -1.0, 6.0).toggle("mmr")
    played.save(tmp_path / "session.json")
    again = session(trained).resume(tmp_path / "session.json")
    assert again.picks == played.picks
    assert again.show() == played.show()
    assert json.loads((tmp_path / "session.json").read_text())["events"][0]["weight"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["session.json"]


def test_errors(trained, tmp_path):
    played = session(trained)
    for number in (0, 6, 99):
        with pytest.raises(
            DataError, match=rf"there is no number {number} on the screen: pick one of 1\.\.5"
        ):
            played.pick(number, 1.0, 0.0)
    with pytest.raises(DataError, match="there is nothing to undo"):
        played.undo()
    with pytest.raises(SettingError, match="there is no panel 'moon'; there are search, recommended, "):
        played.toggle("moon")
    with pytest.raises(SettingError, match="cannot read the session"):
        played.resume(tmp_path / "none.json")
    with pytest.raises(SettingError, match="cannot write the session"):
        played.save(tmp_path / "none" / "session.json")
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 1, "events": [1], "query": "", "panels": []}'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(DataError, match="is not a saved session"):
            played.resume(tmp_path / "wrong.json")
    (tmp_path / "wrong.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="is a session of format 9, not 1"):
        played.resume(tmp_path / "wrong.json")
    event = {"item": 10**6, "weight": 1.0, "time": 0.0}
    (tmp_path / "wrong.json").write_text(
        json.dumps({"format": 1, "query": "", "panels": ["search"], "events": [event]})
    )
    with pytest.raises(UnknownIdError):
        played.resume(tmp_path / "wrong.json")


def test_search_and_panels_respect_filters(trained):
    allow = trained.items.series[:40].to_list()
    options = ListOptions(5, allow=allow, exclude=allow[:3])
    played = session(trained, options=options).search(word(trained)).pick(1, 1.0, 0.0)
    shown = [trained.items[line.row] for lines in played.show().values() for line in lines]
    assert set(shown) <= set(allow[3:])
    expected = trained.search(word(trained), 5, allow=allow, exclude=allow[:3])["item_id"].to_list()
    assert [trained.items[line.row] for line in played.show()["search"]] == expected


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("panel", [*PANELS[1:], *MORE_PANELS])
def test_every_panel_is_the_list_of_the_library(trained, profile, panel):
    played = session(trained, profile).pick(1, 1.0, 0.0).pick(2, 1.0, 0.0)
    if panel not in PANELS:
        played = played.toggle(panel)
    method = (
        {"explore": panel} if panel in EXPLORERS else {"diversify": panel} if panel in DIVERSIFIERS else {}
    )
    expected = trained.recommend_for(
        [pick.item for pick in played.picks], 5, profile=profile, seed=len(played.picks), **method
    )
    assert [trained.items[line.row] for line in played.show()[panel]] == expected["item_id"].to_list()


def test_the_command_runs_a_script(trained, tmp_path):
    trained.save(tmp_path / "model")
    lines = ["?", word(trained), "1", "p", "-3", "u", "u", "u", "t thompson", "1", "s saved.json", "s", "99"]
    script = "\n".join([*lines, word(trained), "q", "never", ""])

    def played(text, *options):
        done = subprocess.run(
            [sys.executable, "-m", "segue", "play", str(tmp_path / "model"), *options],
            cwd=tmp_path, input=text, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    output = played(script)
    assert "liked " in output
    assert "there is nothing to undo" in output
    assert "thompson" in output
    assert "Saved to saved.json" in output
    assert "name the file to save to: s FILE" in output
    assert "there is no number 99 on the screen" in output
    assert "never" not in output
    assert len(json.loads((tmp_path / "saved.json").read_text())["events"]) == 1
    resumed = played("p\n", "--resume", "saved.json", "--profile", "ema")
    assert "+ " in resumed
    assert "liked " in resumed
    assert np.isfinite(trained.embeddings.items).all()


def test_a_model_with_text_is_searched_by_words_and_meaning(tmp_path):
    films = ["Die Hard", "Hackers", "Casablanca", "The Harder They Come"]
    pairs = [(user, item) for user in range(8) for item in range(4) if (user + item) % 3]
    data = segue.read_interactions(
        pl.DataFrame(pairs, schema=["user", "item"], orient="row"),
        user="user",
        item="item",
        items=pl.DataFrame({"item": range(4), "title": films}),
    )
    trained = segue.Recommender(segue.IALS(dim=2, iterations=2)).fit(data, text=segue.Text(columns="title"))
    played = Session(trained, Profile("posterior", trained.space), options=ListOptions(2))
    found = [trained.items[line.row] for line in played.search("dye hard").show()["search"]]
    assert found == trained.search("dye hard", 2)["item_id"].to_list()
    assert found[0] == 0
    trained.save(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-m", "segue", "play", str(tmp_path / "model")],
        input="dye hard\n!?\n1\np\n", capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the query '!?' has no words: say what to look for" in done.stdout
    assert done.stdout.rstrip().endswith("+ Die Hard")  # the search before the one without words still stands
