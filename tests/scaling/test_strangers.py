"""Files that a stranger may have made, or a disk has damaged: used, or refused in one line."""

import copy
import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from scaling.fit import fitted, isoflop
from scaling.fit.ready import published
from scaling.forecast import scoring, sealing
from scaling.plan import planning
from scaling.runs import plans
from tests.scaling.forecast.test_sealing import a_record
from tests.scaling.sweep.test_sweeping import small_plan
from train import record
from train.cli import InputError

WRONG = (None, True, -1, 10**400, "x", [], {}, [[1]], {"a": {}})
DEEP = "[" * 40 + "]" * 40


def places(value, path=()):
    """Where a field stands in a JSON value; of a list only its first element."""
    for key in value if isinstance(value, dict) else range(min(len(value), 1)):
        yield (*path, key)
        if isinstance(value[key], dict | list):
            yield from places(value[key], (*path, key))


def mutants(value):
    """The value with each field in turn left out, or with each of `WRONG` in its place."""
    for *outer, last in places(value):
        changed = copy.deepcopy(value)
        at = changed
        for key in outer:
            at = at[key]
        for wrong in WRONG:
            at[last] = wrong
            yield changed
        del at[last]
        yield changed


def made(folder) -> dict:
    """A file of each kind as JSON, and what reads it."""
    (planned,) = small_plan(budgets=(2e4,), sizes_per_budget=1).runs
    target = {"run": "big", "config_sha256": "c", "data_sha256": "d", "by_law": {"tied": 2.0}}
    target |= dict.fromkeys(("N", "D", "C", "decades", "median"), 1.0)
    target |= {"interval50": [1.0, 2.0], "interval90": [1.0, 2.0]}
    seal = {"version": 3, "created": "2026-01-01T00:00:00+00:00", "law": "tied", "reasons": ["why"]}
    seal |= {"runs_sha256": "r", "plan_sha256": "p", "warnings": ["mind"], "missing": {"a": "b"}}
    seal |= {"weights": {"tied": 1.0}, "targets": [target]}
    known = ("law", "reasons", "warnings", "weights", "targets")
    further = {"best": 1.0} | {name: seal[name] for name in known}
    refused = {"best": 0.0, "refused": "why"}
    seal |= {"target": "loss", "metrics": {"accuracy": further, "bleu": refused}}
    score = {"run": "big", "status": "ok", "median": 2.0, "inside50": True, "inside90": True}
    score |= dict.fromkeys(("loss", "loss_se", "error", "half_width90"), 1.0)
    score["metrics"] = {"accuracy": {"value": 0.9, "value_se": None, "median": 0.8, "error": -0.1}}
    score["metrics"]["accuracy"] |= {"inside50": True, "inside90": True}
    scores = {"version": 3, "forecast_sha256": "f", "scores": [score], "notes": ["why"]}
    law = dataclasses.replace(
        published("besiroglu2024"),
        value=1.0,
        intervals={"E": (1.0, 2.0)},
        residuals=np.ones(3),
        runs=("a",),
        draws=np.ones((2, 5)),
        data_range={"N": (1.0, 2.0)},
    )
    C = np.repeat([1e18, 4e18, 16e18], 5)
    N = 0.1 * C**0.5 * np.tile(np.exp(np.linspace(-0.7, 0.7, 5)), 3)
    table = pd.DataFrame({"N": N, "D": C / 6 / N, "C": C})
    minima = isoflop.isoflop(
        table.assign(loss=1.8 + 480 * N**-0.35 + 2100 * table["D"] ** -0.37), bootstrap=3
    )
    study = {"name": "s", "target": "loss", "metrics": ["accuracy"], "bar": {"accuracy": 0.9}}
    study |= {"best": {"accuracy": 1.0}}
    plan = {"version": 2, "study": study, "runs": [dataclasses.asdict(planned)]}
    finished = dataclasses.asdict(dataclasses.replace(a_record(), curve=[[1, 2.0]]))
    seen = {"step": 1, "metrics": {"loss": [2.0, 0.1]}}
    begun = dict.fromkeys(("run", "config_sha256", "sha256"), "x") | {"step": 1, "D": None}
    begun |= {"N": None, "C": None, "metrics": {"loss": [2.0, 0.1]}}
    return {
        "record": (
            finished | {"evaluations": [seen], "start": begun},
            record.load,
        ),
        "plan": (plan, planning.load),
        "seal": (seal, sealing.load),
        "score": (scores, scoring.load),
        "law": (json.loads(law.to_json()), lambda path: fitted.load(str(path))),
        "isoflop": (json.loads(minima.to_json()), lambda path: isoflop.load(str(path))),
    }


@pytest.mark.parametrize("kind", ["record", "plan", "seal", "score", "law", "isoflop"])
def test_a_wrong_field_is_one_line_that_names_the_file(kind, tmp_path):
    value, load = made(tmp_path)[kind]
    path, refused, told = tmp_path / f"{kind}.json", 0, set()

    def text(value) -> str:
        if kind == "seal":  # a stranger can make a digest that fits
            value = value | {"sha256": sealing.digest(value)}
        return json.dumps(value)

    path.write_text(text(value))
    load(path)  # as it is, it is good
    others = [text(mutant) for mutant in mutants(value)]
    # Whole files: cut short, no JSON, another kind of JSON, nested deeply, no text, not a number.
    for changed in (
        *others,
        text(value)[:-2],
        "",
        "[]",
        "3",
        "null",
        DEEP,
        "[" * 10**5,
        '"\\ud800"',
    ):
        path.write_text(changed)
        try:
            load(path)
        except InputError as error:
            refused += 1
            told.add(str(error))
    assert refused > len(others) / 2
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in told)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=re.escape(str(path))):
        load(path)


@pytest.mark.parametrize(
    "name", ["../../..", "..", ".", "", "/tmp/x", "a/b", "a\\b", "a\0b", "a\nb", "x" * 300, 3]
)
def test_a_name_that_leaves_the_folder_is_refused_wherever_it_stands(name, tmp_path):
    with pytest.raises(InputError, match="a name that stays inside"):
        plans.run_folder(tmp_path, name)
    plan, load = made(tmp_path)["plan"]
    plan["runs"][0]["run"] = name
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    for read in (load, lambda path: sealing.seal(path.parent)):
        with pytest.raises(InputError, match="run"):
            read(tmp_path / "plan.json")
    seal, load = made(tmp_path)["seal"]
    seal["targets"][0]["run"] = name
    (tmp_path / "forecast.json").write_text(json.dumps(seal | {"sha256": sealing.digest(seal)}))
    with pytest.raises(InputError, match="run"):
        load(tmp_path / "forecast.json")
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json", "forecast.json"}
