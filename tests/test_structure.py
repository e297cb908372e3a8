"""No import cycles, short files and functions, few `Any`."""

import ast
import re

from test_architecture import MODULES, SOURCE, imported


def module_name(path):
    parts = path.with_suffix("").parts
    return ".".join(["segue", *(parts[:-1] if parts[-1] == "__init__" else parts)])


def import_graph():
    """Return the modules that each module imports, wherever in the file.

    An import counts inside a function and under TYPE_CHECKING, too: a cycle hidden there is still one.
    """
    names = {module_name(path) for path in MODULES} - {"segue"}
    graph = {}
    for path in MODULES:
        targets = set()
        for name in imported(path):
            while name and name not in names:
                name = name.rpartition(".")[0]
            targets.add(name)
        graph[module_name(path)] = targets - {module_name(path), ""}
    return graph


def cycles(graph):
    """Return the import cycles that a depth-first search finds, each as a list of modules."""
    found, finished = [], set()

    def visit(module, path):
        if module in path:
            found.append([*path[path.index(module) :], module])
        elif module not in finished:
            for target in sorted(graph[module]):
                visit(target, [*path, module])
            finished.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def test_cycles_are_found():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]


def test_no_import_cycles():
    assert [" -> ".join(cycle) for cycle in cycles(import_graph())] == []


def outside_kernels():
    for path in MODULES:
        if path.parts[0] != "kernels":
            yield path, (SOURCE / path).read_text(encoding="utf-8")


def test_files_are_short():
    lengths = {str(path): len(text.splitlines()) for path, text in outside_kernels()}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_functions_are_short():
    """A signature does not count: commands declare their options in it."""
    long = {}
    for path, text in outside_kernels():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.body[0].lineno + 1
                if length > 60:
                    long[f"{path}:{node.name}"] = length
    assert long == {}


def test_any_is_rare():
    """`Any` is for values of libraries without types and for foreign data."""
    lines = [
        line
        for path in MODULES
        for line in (SOURCE / path).read_text(encoding="utf-8").splitlines()
        if re.search(r"\bAny\b", line) and "import" not in line
    ]
    assert len(lines) < 60
