"""The structure of the package: public names and the direction of imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segue
from segue import index, models

SOURCE = Path(segue.__file__).parent
LAYERS = [  # a module imports from lower layers and from its own folder, never from a higher one
    {"__main__"},
    {"cli"},
    {"compat", "serve", "spark"},
    {"bench"},
    {"tuning"},
    {"evaluation"},
    {"recommender"},
    {"online"},
    {"models"},
    {"text"},
    {"index"},
    {"data", "store"},
    {"numerics", "validation", "types"},
    {"errors", "kernels", "lazy", "progress"},
]
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))


def layer_name(path):
    """Return the name of a module in LAYERS: its folder, or its own name."""
    return path.parts[0].removesuffix(".py")


def layer_of(name):
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


def imported(path):
    """Return the names that a source file imports from segue, also inside functions."""
    for node in ast.walk(ast.parse((SOURCE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "segue")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "segue":
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import; use the full path"


def test_public_names():
    assert sorted(segue.__all__) == [
        "BPR", "BiasedMF", "Blend", "Contrastive", "EASE", "Embeddings", "Evaluation", "Exact", "Features",
        "IALS", "Interactions", "Item2Vec", "ItemKNN", "KOSWARP", "Logistic", "Popularity", "Recommender",
        "SVDAE", "SegueError", "Text", "TrainedRecommender", "Tuned", "WARP", "compat", "data", "errors",
        "evaluate", "evaluate_ratings", "evaluation", "index", "load", "models", "online",
        "read_interactions",
        "read_items", "serve", "store", "tune",
    ]  # fmt: skip
    assert sorted(models.MODELS) == [
        "als", "biasedmf", "blend", "bpr", "contrastive", "ease", "ials", "item2vec", "itemknn", "koswarp",
        "logistic", "popularity", "svdae", "text", "warp",
    ]  # fmt: skip
    assert sorted(index.INDEXES) == ["auto", "exact", "forest", "hnsw", "ivf", "lsh"]
    assert all(getattr(segue, name).__name__.split(".")[-1] == name for name in segue.__all__)
    assert set(segue.__all__) <= set(dir(segue))
    with pytest.raises(AttributeError, match="no attribute 'anything'"):
        segue.anything  # noqa: B018


def test_importing_the_package_is_lazy():
    code = "import sys, segue; print(*{'numpy', 'numba', 'polars', 'scipy'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == ""


@pytest.mark.parametrize("path", [path for path in MODULES if path != Path("__init__.py")], ids=str)
def test_imports_go_down(path):
    own = layer_name(path)
    for name in imported(path):
        parts = name.split(".")
        if (len(parts) == 2 and parts[1] == "__version__") or name == "segue":
            assert own == "cli", f"{path} imports the package that re-exports it"
            continue
        other = parts[1]
        assert other == own or layer_of(other) > layer_of(own), (
            f"{path} imports {name}, which is not in a lower layer"
        )
        if other == own:
            package = (SOURCE / own / "__init__.py").exists()
            assert not package or len(parts) > 2, f"{path} imports the __init__ of its own folder"


def test_every_module_has_a_layer():
    assert {layer_name(path) for path in MODULES} - {"__init__"} == set().union(*LAYERS)


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "kernels"], ids=str)
def test_kernel_imports(path):
    tree = ast.parse((SOURCE / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            top = name.split(".")[0]
            assert top in {"numpy", "numba", "llvmlite", "segue"} or top in STANDARD, f"{path} imports {name}"
            assert top != "segue" or name.startswith("segue.kernels")


STANDARD = {"__future__", "collections", "concurrent", "functools", "itertools", "os", "threading", "typing"}


def test_no_numba_threads_and_no_pickle():
    for path in MODULES:
        text = (SOURCE / path).read_text(encoding="utf-8")
        assert "parallel=True" not in text
        assert "import pickle" not in text
        assert "allow_pickle=True" not in text


def test_every_module_has_a_docstring():
    for path in MODULES:
        assert ast.get_docstring(ast.parse((SOURCE / path).read_text(encoding="utf-8"))), path
