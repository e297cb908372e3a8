"""What the README and the docs say is true: their code runs, their tree and commands are those there are."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import segue
from segue.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands}


def blocks(page, language):
    return [code for found, code in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files that the docs speak of: ratings.csv and movies.csv as MovieLens writes them."""
    folder = tmp_path_factory.mktemp("docs")
    data = segue.data.simulate(80, 60, 3000, seed=1)
    pairs = data.matrix.tocoo()
    rows = zip(data.users.ids[pairs.row], data.items.ids[pairs.col], pairs.data, data.times, strict=True)
    lines = [f"{user},{item},{weight},{int(time)}" for user, item, weight, time in rows]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    titles = zip(data.items.ids, data.item_metadata["title"], data.item_metadata["year"], strict=True)
    lines = [f'{item},"{title} ({year})",Drama' for item, title, year in titles]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]) + "\n")
    return folder


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name
)
def test_python_blocks_run(page, files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    names = {}
    for code in blocks(page, "python"):
        exec(compile(code, page.name, "exec"), names)


def command_lines(page):
    for code in blocks(page, "sh"):
        yield from (line for line in code.splitlines() if line.startswith("segue "))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if [*command_lines(page)]], ids=lambda page: page.name
)
def test_command_lines_run(page, files):
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    fit = "fit ratings.csv -o model --min-weight 4 --items movies.csv"
    lines = [line.removeprefix("segue ") for line in command_lines(page)]
    for line in [fit, *lines]:
        done = subprocess.run(
            [sys.executable, "-m", "segue", *shlex.split(line)],
            cwd=files, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, f"segue {line}: {done.stderr}"
        assert done.stdout.strip(), f"segue {line} says nothing"


def test_every_command_is_in_the_readme_and_no_other():
    named = set(
        re.findall(r"^\| `segue (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named == COMMANDS


def test_the_tree_of_the_readme_is_the_tree():
    tree = next(code for code in blocks(ROOT / "README.md", "") if "src/segue" in code)
    folder, named = "", set()
    for line in tree.splitlines():
        name = line.split()[0]
        if name.endswith("/"):
            folder = name
        else:
            assert len(line.split()) > 2, f"{name} is not explained"
            named.add(folder + name if line.startswith(" ") else name)
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    kept = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    there = {
        name for name in kept if name.endswith((".py", ".md", ".sh")) or name in {".ci/run", "pyproject.toml"}
    }
    there -= {name for name in there if not (ROOT / name).exists()} | {"README.md"}
    assert named == {
        name for name in there if not name.endswith("__init__.py") or name == "src/segue/__init__.py"
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_name_of_segue_in_the_docs_exists():
    for page in PAGES:
        for name in set(re.findall(r"\bsegue((?:\.[A-Za-z_]\w*)+)", page.read_text(encoding="utf-8"))):
            found = segue
            for part in name.split(".")[1:]:
                assert hasattr(found, part) or found is None, f"{page.name} names segue{name}"
                found = getattr(found, part)


def test_the_version_is_the_packages():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{segue.__version__}"' in text
