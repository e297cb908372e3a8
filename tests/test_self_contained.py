"""No file of the package or its tests refers to a path outside the checkout."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = {".py", ".sh", ".js", ".html", ".css", ".json", ".csv", ".toml", ".md"}
FILES = [
    file
    for folder in ("src", "tests")
    for file in sorted((ROOT / folder).rglob("*"))
    if file.suffix in TEXT and "__pycache__" not in file.parts and ".egg-info" not in str(file)
]
NEIGHBOR = re.compile(r"(?:\.\./)+shared\b|\bshared/data\b|[\"']shared[\"'] */")
ABSOLUTE = re.compile(r"[\"'](?:/(?:work|tmp|root|mnt|srv|var|data)|[A-Z]:\\\\)(?:[/\"']|\\\\)")
PARENTS = re.compile(r"\bparents\[(\d+)\]")
PARENT_CHAIN = re.compile(r"(?:\.parent\b){2,}")


def outside_references(text, depth):
    """Return what refers to a path outside the checkout, in a file `depth` levels below its root."""
    steps = [match[0] for match in PARENTS.finditer(text) if int(match[1]) >= depth]
    chains = [match[0] for match in PARENT_CHAIN.finditer(text) if match[0].count("parent") > depth]
    paths = [match[0] for pattern in (NEIGHBOR, ABSOLUTE) for match in pattern.finditer(text)]
    return steps + chains + paths


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_path_outside_the_checkout(file):
    depth = len(file.relative_to(ROOT).parts)
    assert outside_references(file.read_text(encoding="utf-8"), depth) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Path(__file__).parents[{2}]", True),
        (f"Path(__file__).parents[{1}]", False),
        ("Path(__file__)" + ".parent" * 3, True),
        ("Path(__file__)" + ".parent" * 2, False),
        ("open('{}/x')".format("../" + "shared"), True),
        ("open('/{}/x')".format("work"), True),
        ("Path('/{}')".format("tmp"), True),
        ("tmp_path / 'x'", False),
    ],
)
def test_the_check_finds_paths_outside(text, found):
    assert bool(outside_references(text, depth=2)) == found
