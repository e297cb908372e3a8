"""The interactive session: as values, and as a command fed from a pipe."""

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import segue
from segue.cli.session import OTHERS, PANELS, Session, finder, titles_like
from segue.errors import DataError, SettingError, UnknownIdError
from segue.online import PROFILES, Profile


@pytest.fixture(scope="module")
def trained():
    return segue.Recommender(segue.IALS(dim=8, iterations=4)).fit(segue.data.simulate(80, 120, 3000, seed=1))


def session(trained, profile="posterior", **given):
    return Session(trained, Profile(profile, trained.space), titles_like(trained), **given)


def word(trained):
    """A word that stands in some titles."""
    return trained.item_metadata["title"][0].split()[-1]


def test_nothing_picked_shows_what_is_popular(trained):
    shown = session(trained).shown()
    assert tuple(shown) == PANELS
    popular = trained.recommend_for([], 5)["item_id"].to_list()
    assert [trained.items[line.row] for line in shown["recommended"]] == popular
    assert {line.why for line in shown["recommended"]} == {"popular"}
    assert not shown["search"]
    assert not shown["gaussian"]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_pick_moves_every_panel_and_says_why(trained, profile):
    start = session(trained, profile).searched(word(trained))
    found = start.shown()["search"]
    assert all(word(trained).lower() in start.title(line.row).lower() for line in found)
    after = start.picked(1, 1.0, 10.0)
    assert start.events == ()
    shown = after.shown()
    assert [line.number for lines in shown.values() for line in lines] == list(
        range(1, 1 + sum(map(len, shown.values())))
    )
    for name in ("recommended", "gaussian", "buckets"):
        assert len(shown[name]) == 5
        assert found[0].row not in [line.row for line in shown[name]]
        assert {line.why for line in shown[name]} == {f"you liked {start.title(found[0].row)}"}
    assert after.back().events == ()
    again = after.back().shown()
    assert {name: [line.row for line in lines] for name, lines in again.items()} == {
        name: [line.row for line in lines] for name, lines in start.shown().items()
    }


def test_recommendations_are_those_of_the_library(trained):
    played = session(trained, "posterior")
    for number in (1, 2):
        played = played.picked(number, 1.0, 0.0)
    history = [one.item for one in played.events]
    expected = trained.recommend_for(history, 5)["item_id"].to_list()
    assert [trained.items[line.row] for line in played.shown()["recommended"]] == expected


def test_dislikes_push_away(trained):
    liked = session(trained).picked(1, 1.0, 0.0)
    target = liked.shown()["recommended"][0]
    disliked = liked.picked(target.number, -1.0, 1.0)
    vectors = [one.profile.vectors(one._state).vectors[0] for one in (liked, disliked)]
    before, after = (float(trained.embeddings.items[target.row] @ vector) for vector in vectors)
    assert after < before


@pytest.mark.parametrize("panel", OTHERS)
def test_other_panels_come_and_go(trained, panel):
    played = session(trained).picked(1, 1.0, 0.0).turned(panel)
    assert len(played.shown()[panel]) == 5
    assert panel not in played.turned(panel).shown()


def test_thompson_sampling_stays_empty_without_ials(trained):
    other = segue.Recommender(segue.WARP(dim=8, epochs=1, threads=1)).fit(
        segue.data.simulate(80, 120, 3000, seed=1)
    )
    assert session(other, "ema").picked(1, 1.0, 0.0).turned("thompson").shown()["thompson"] == []


def test_a_saved_session_goes_on_as_it_was(trained, tmp_path):
    played = session(trained).searched(word(trained)).picked(1, 1.0, 5.0).picked(7, -1.0, 6.0).turned("mmr")
    played.save(tmp_path / "session.json")
    again = session(trained).resumed(tmp_path / "session.json")
    assert again.events == played.events
    assert again.shown() == played.shown()
    assert json.loads((tmp_path / "session.json").read_text())["events"][0]["weight"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["session.json"]


def test_what_cannot_be_done_says_why(trained, tmp_path):
    played = session(trained)
    for number in (0, 6, 99):
        with pytest.raises(
            DataError, match=rf"there is no number {number} on the screen: pick one of 1\.\.5"
        ):
            played.picked(number, 1.0, 0.0)
    with pytest.raises(DataError, match="there is nothing to undo"):
        played.back()
    with pytest.raises(SettingError, match="there is no panel 'moon'; there are search, recommended, "):
        played.turned("moon")
    with pytest.raises(SettingError, match="cannot read the session"):
        played.resumed(tmp_path / "none.json")
    with pytest.raises(SettingError, match="cannot write the session"):
        played.save(tmp_path / "none" / "session.json")
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 1, "events": [1], "query": "", "panels": []}'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(DataError, match="is no saved session"):
            played.resumed(tmp_path / "wrong.json")
    (tmp_path / "wrong.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="is a session of format 9, not 1"):
        played.resumed(tmp_path / "wrong.json")
    event = {"item": 10**6, "weight": 1.0, "time": 0.0}
    (tmp_path / "wrong.json").write_text(
        json.dumps({"format": 1, "query": "", "panels": ["search"], "events": [event]})
    )
    with pytest.raises(UnknownIdError):
        played.resumed(tmp_path / "wrong.json")


def test_search_by_title_takes_words_in_any_order(trained):
    find = titles_like(trained)
    title = trained.item_metadata["title"][3]
    backwards = " ".join(reversed(title.upper().split()))
    assert 3 in find(backwards, 10)
    assert len(find("no such title at all", 10)) == len(find(" ", 10)) == 0
    lengths = [len(trained.item_metadata["title"][row]) for row in find("the", 10).tolist()]
    assert lengths == sorted(lengths)


def test_the_command_follows_a_script(trained, tmp_path):
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

    told = played(script)
    assert "liked " in told
    assert "there is nothing to undo" in told
    assert "thompson" in told
    assert "Saved to saved.json" in told
    assert "name the file to save to: s FILE" in told
    assert "there is no number 99 on the screen" in told
    assert "never" not in told
    assert len(json.loads((tmp_path / "saved.json").read_text())["events"]) == 1
    again = played("p\n", "--resume", "saved.json", "--profile", "ema")
    assert "+ " in again
    assert "liked " in again
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
    played = Session(trained, Profile("posterior", trained.space), finder(trained), k=2)
    found = [trained.items[line.row] for line in played.searched("dye hard").shown()["search"]]
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
