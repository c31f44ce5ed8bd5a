"""The house rules that a machine can check: floors, circles, lengths, where flags are."""

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("configs", "data", "models", "train", "scaling", "benchmarks")
LINES, FUNCTION_LINES = 400, 60  # of a file and of a function: the one place that says so
# Bottom up: a file imports from its own room and from rooms on floors below it.
FLOORS = (
    ("configs", "configs.studies", "data.sources", "models.layers"),
    ("data", "models"),
    ("train.tasks", "train.devices"),
    ("train",),
    ("train.compile", "train.examine", "train.export", "train.generate"),
    ("scaling.runs", "scaling.laws"),
    ("scaling.fit",),
    ("scaling.forecast",),
    ("scaling.design", "scaling.backtest"),
    ("scaling.allocate",),
    ("scaling.plan",),
    ("scaling.sweep",),
    ("scaling.report",),
    ("scaling.study", "scaling.status"),
    ("scaling.console",),
    ("benchmarks.peers",),
    ("benchmarks",),
)
# What faces the person of a verb stands above all rooms; nothing but these imports the console.
FRONT = ("__main__", "command", "answer", "listing", "show")
# Rooms where a file knows one of the room above it, and why that is no circle.
KNOWN_UP = {
    ("data.sources", "data"): "the order of examples is data's, and needs no source",
    ("train.devices", "train"): "meshes are of a config, and errors are the command line's",
    ("train.tasks", "train"): "what a task returns is said in its package",
}


def files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module(path) for path in files()}


def room(name: str) -> str:
    """The room of a file: the longest of the rooms on the floors that its name begins with."""
    rooms = [r for floor in FLOORS for r in floor if name == r or name.startswith(f"{r}.")]
    return max(rooms, key=len) if rooms else name.split(".")[0]


def is_front(name: str) -> bool:
    return name.startswith("scaling.") and name.split(".")[-1] in FRONT


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, inside functions too, but for the eyes of type checkers."""
    hidden = {
        id(node)
        for branch in ast.walk(tree(path))
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.unparse(branch.test)
        for node in ast.walk(branch)
    }
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and id(node) not in hidden:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """The files of ours that a file imports."""
    found = set()
    for name in imported(path):
        if name.split(".")[0] in PACKAGES:
            found.add(name if name in NAMES else name.rpartition(".")[0])
    return found - {module(path)}


def floor(name: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room(name) in rooms)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_down(package):
    for path in files():
        name = module(path)
        if name.split(".")[0] != package:
            continue
        for other in ours(path):
            if is_front(name):
                assert not other.endswith(".__main__"), f"{name} imports {other}: take its library"
                continue
            if room(name) == room(other) or (room(name), room(other)) in KNOWN_UP:
                continue
            assert not is_front(other), f"{name} imports {other}: what prints is for verbs alone"
            assert floor(other) < floor(name), (
                f"{name} imports {other}, which lies on no floor below: move one of the two, or "
                "take what both need further down"
            )


def test_no_circle_of_files():
    below = {module(path): ours(path) for path in files()}
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for other in below.get(name, ()):
                walk(other, (*way, name))
            done.add(name)

    for name in below:
        walk(name, ())


def test_every_file_has_a_room():
    rooms = {r for floor in FLOORS for r in floor} | {"scaling"}
    for path in files():
        folder = ".".join(path.parent.relative_to(ROOT).parts)
        corpus = folder.startswith("data.sources")
        assert folder in rooms or corpus, f"{path}: {folder} is no room: see FLOORS"
        if folder == "scaling":
            assert path.name == "__init__.py", f"{path}: belongs into a room of scaling"


def test_flags_are_defined_where_a_verb_begins():
    for path in files():
        name = module(path)
        begins = name.endswith("__main__") or name.startswith("scaling.console")
        allowed = begins or name in ("train.cli", "train.dials") or name.startswith("benchmarks")
        defines = {
            node.attr
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Attribute) and node.attr.startswith("DEFINE")
        }
        assert allowed or not defines, f"{name}: flags belong into a __main__ or scaling.console"


def test_few_imports_are_hidden_in_functions():
    hidden = []
    for path in files():
        if path.is_relative_to(ROOT / "benchmarks"):
            continue
        for function in ast.walk(tree(path)):
            if isinstance(function, ast.FunctionDef):
                hidden += [
                    f"{module(path)}: {ast.unparse(node)}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.ImportFrom)
                    and str(node.module).split(".")[0] in PACKAGES
                ]
    # Entry points, whose --help must not wait for JAX; workers, which say where JAX may run first.
    assert len(set(hidden)) <= 40, "\n".join(hidden)


def test_nothing_is_unpickled_or_evaluated():
    for path in files():
        names = {n.split(".")[0] for n in imported(path)}
        assert not names & {"pickle", "dill", "cloudpickle", "joblib", "shelve"}, path
        calls = {
            node.func.id
            for node in ast.walk(tree(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec"}, path


def test_files_and_functions_stay_short():
    for path in ROOT.glob("*/**/*.py"):
        if ".venv" in path.parts:
            continue
        lines = len(path.read_text().splitlines())
        assert lines <= LINES or "tests" in path.parts, f"{path}: {lines} lines, over {LINES}"
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = node.end_lineno - node.lineno + 1
                assert length <= FUNCTION_LINES, f"{path}: {node.name}: {length} lines"
