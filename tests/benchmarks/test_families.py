"""The sheet of all families, from their folders of results alone."""

import json
import shutil

import pytest

from benchmarks import families
from tests.scaling import conftest
from train import record
from train.cli import InputError

known_study = conftest.known_study

SAID = {
    "family": "cnn",
    "data": "a | b",
    "unit": "image",
    "target": "loss",
    "metrics": [
        {
            "name": "accuracy",
            "better": "more",
            "value": 0.905,
            "error": 0.003,
            "bar": 0.9,
            "bar_source": "published",
            "baseline": 0.91,
            "baseline_source": "pixels",
        },
        {
            "name": "rmse",
            "better": "less",
            "value": 0.5,
            "error": None,
            "bar": 0.4,
            "bar_source": "",
            "baseline": None,
            "baseline_source": "",
        },
    ],
    "seconds": 754,
    "machine": "2 cores",
    "command": "python -m scaling.study",
    "note": "One sentence.",
}


@pytest.fixture
def folder(known_study, tmp_path):
    """Two families: one with all files, one that has but its runs."""
    for name, kept in (("cnn", ("law", "forecast", "score")), ("gan", ())):
        made = tmp_path / "families" / name
        made.mkdir(parents=True)
        for file in ("runs.csv", *(f"{name}.json" for name in kept)):
            shutil.copy(known_study / file, made)
        changed = {} if kept else {"family": "gan", "metrics": [], "note": ""}
        record.save_json(made / "family.json", SAID | changed)
    return tmp_path / "families"


def test_a_family_in_a_row(folder, known_study):
    whole = families.read(folder / "cnn")
    cells = dict(zip(families.COLUMNS, families.row(whole)))
    law = json.loads((known_study / "law.json").read_text())
    (target,) = json.loads((known_study / "forecast.json").read_text())["targets"]
    assert cells["α, of N"].startswith(f"{law['params']['alpha']:.2g}")
    assert " to " in cells["β, of D"]
    assert cells["forecast (90%)"].startswith(f"loss {target['median']:.3f} (")
    assert cells["error"].endswith(", inside")
    assert cells["metric"] == "accuracy 0.905 ± 0.003<br>rmse 0.500"
    assert cells["bar"] == "0.900 (published): met<br>0.400: missed"
    assert cells["baseline"] == "0.910 (pixels): not beaten<br>–"
    assert cells["wall time"] == "12 min 34 s"
    bare = families.row(families.read(folder / "gan"))
    assert bare[3:-1] == ["–"] * 8


def test_the_table_is_markdown_whatever_the_texts_hold(folder):
    text = families.table([families.read(folder / name) for name in ("cnn", "gan")])
    head, line, *rows = text.splitlines()
    columns = len(families.COLUMNS)
    assert line.count("|") == columns + 1
    assert all(row.replace("\\|", "").count("|") == columns + 1 for row in (head, *rows[:2]))
    assert "- cnn: One sentence." in rows


def test_the_figure_has_runs_law_forecast_and_outcome(folder):
    names = [series.name for series in families.figure(families.read(folder / "cnn")).series]
    assert {"runs fitted", "best loss by chinchilla", "outcome"} < set(names)
    bare = families.figure(families.read(folder / "gan"))
    assert [series.name for series in bare.series] == ["runs fitted"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"more": 1}, "family.json: more: no such field"),
        ({"seconds": "long"}, "family.json: seconds: 'long'; must be a number"),
        ({"metrics": [SAID["metrics"][0] | {"better": "up"}]}, "better: 'up'; allowed: more, less"),
    ],
)
def test_what_is_wrong_is_one_line(folder, changes, words):
    record.save_json(folder / "cnn" / "family.json", SAID | changes)
    with pytest.raises(InputError, match=words):
        families.read(folder / "cnn")
