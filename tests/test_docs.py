"""README and docs: their code runs; the layout, layers and commands they list are the real ones."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import segue
from segue.cli.registry import SUMMARIES
from test_architecture import LAYERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "benchmarks" / "README.md",
        *(ROOT / "docs").glob("*.md"),
    ]
)
OTHER_FOLDERS = {"tests", "benchmarks", "docs", "examples", ".ci", ".github"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = set(SUMMARIES)


def blocks(page, language):
    return [code for name, code in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with the files that the docs use: ratings.csv and movies.csv, in the format of MovieLens."""
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
        result = subprocess.run(
            [sys.executable, "-m", "segue", *shlex.split(line)],
            cwd=files, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert result.returncode == 0, f"segue {line}: {result.stderr}"
        assert result.stdout.strip(), f"segue {line} prints nothing"


def test_the_readme_lists_every_command():
    named = set(
        re.findall(r"^\| `segue (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named == COMMANDS


def test_the_design_page_lists_every_folder():
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", design, re.MULTILINE)
    source = ROOT / "src" / "segue"
    modules = {f"src/segue/{path.name}" for path in source.glob("*.py")}
    folders = {f"src/segue/{path.name}/" for path in source.iterdir() if (path / "__init__.py").exists()}
    others = {f"{folder.name}/" for folder in ROOT.iterdir() if folder.name in OTHER_FOLDERS}
    assert {name for name, _ in rows} == modules | folders | others
    assert len(rows) == len({name for name, _ in rows})


def test_the_design_page_lists_the_layers():
    design = ROOT / "docs" / "design.md"
    (code,) = blocks(design, "text")
    assert [set(line.split(" · ")) for line in code.splitlines()] == LAYERS


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert 'pip install -e ".[test]" && pytest\n' in text  # .ci/run runs this line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_have_targets(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_names_in_the_docs_exist():
    for page in PAGES:
        for name in set(re.findall(r"\bsegue((?:\.[A-Za-z_]\w*)+)", page.read_text(encoding="utf-8"))):
            value = segue
            for part in name.split(".")[1:]:
                if not hasattr(value, part) and isinstance(value, ModuleType):
                    value = importlib.import_module(f"{value.__name__}.{part}")
                    continue
                assert hasattr(value, part) or value is None, f"{page.name} names segue{name}"
                value = getattr(value, part)


def test_the_version_matches_pyproject():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{segue.__version__}"' in text
