"""The house rules that a machine can check."""

import ast

import pytest

from tests.conftest import ROOT

# Package -> what it may import of ours. `accounting` is a leaf that fills records and plans alike.
ALLOWED = {
    "configs": {"configs"},
    "data": {"data"},
    "models": {"models"},
    "train": {"train", "data", "models", "scaling.accounting"},
    "scaling": {"scaling", "train", "data", "models"},
    "benchmarks": {"scaling", "train", "data", "models", "configs"},
}


def imports(path) -> set[str]:
    """Dotted names that a file imports, `from a import b` as a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_one_way(package):
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            if name.split(".")[0] in ALLOWED:
                parts = name.split(".")
                prefixes = {".".join(parts[:n]) for n in range(1, len(parts) + 1)}
                assert prefixes & ALLOWED[package], f"{path.relative_to(ROOT)} imports {name}"


def test_accounting_imports_nothing_of_ours():
    assert not {n.split(".")[0] for n in imports(ROOT / "scaling/accounting.py")} & set(ALLOWED)


def test_nothing_is_unpickled_or_evaluated():
    for package in ALLOWED:
        for path in (ROOT / package).rglob("*.py"):
            names = {n.split(".")[0] for n in imports(path)}
            assert not names & {"pickle", "dill", "cloudpickle", "joblib", "shelve"}, path
            calls = {
                node.func.id
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }
            assert not calls & {"eval", "exec"}, path


def test_files_stay_short():
    for path in ROOT.glob("*/**/*.py"):
        if ".venv" not in path.parts:
            assert len(path.read_text().splitlines()) <= 450, path
