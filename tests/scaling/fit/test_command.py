"""`python -m scaling.fit`, as a person meets it."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from scaling.fit.fitting import load
from scaling.laws import LAWS
from scaling.laws.at import At
from scaling.runs.schedules import annealing_columns
from tests import verbs
from tests.scaling.fit.test_fitting import study


def command(*arguments):
    return verbs.call("scaling.fit", *arguments)


def test_command_prints_the_law_and_writes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")  # so that a row of a table is a line
    csv, out = tmp_path / "my.csv", tmp_path / "law.json"
    study().rename(columns={"N": "params", "D": "tokens", "loss": "val"}).to_csv(csv, index=False)
    done = command(
        f"--runs={csv}", "--n=params", "--d=tokens", "--loss=val", "--law=tied", f"--out={out}",
        "--bootstrap=50", "--starts=16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = ("alpha", "residual standard deviation", "starts that reached", "line ")
    for word in (*words, "back-test in compute: median", "approach 2", "D*", "best size: trust"):
        assert word in done.stdout
    # The law's own exponent stands there: the tied law's N* grows with C^(1/2) and nothing else.
    (own,) = (line.split() for line in done.stdout.splitlines() if line.split()[:1] == ["tied"])
    assert own[5:] == ["0.5"] * 3
    given = (f"--runs={csv}", "--n=params", "--d=tokens", "--loss=val", "--law=tied")
    akima = command(*given, "--bootstrap=50", "--starts=16", "--minima=akima").stdout
    assert "trust the law, Akima minima have no bias of form" in akima
    assert "its bias here" not in akima
    assert load(str(out)).law.name == "tied"
    assert len(load(str(out)).backtest.beyond) == 2


def test_parameters_are_held_and_columns_named_by_flags(tmp_path):
    N, experts = (m.ravel() for m in np.meshgrid(np.geomspace(1e7, 1e9, 5), [1, 4, 16, 64, 256]))
    loss = routed_law(N=N, experts=experts)
    table = pd.DataFrame({"N": N, "num_experts": experts, "loss": loss})
    table.to_csv(tmp_path / "moe.csv", index=False)
    out = tmp_path / "law.json"
    given = (f"--runs={tmp_path}/moe.csv", "--law=routed", "--bootstrap=0", "--starts=64")
    done = command(*given, "--columns=experts=num_experts", "--fixed=start=1.5", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert load(str(out)).params["start"] == pytest.approx(1.5)
    assert load(str(out)).params["a"] == pytest.approx(0.08, rel=1e-4)
    for flag, words in (
        ("--columns=expert=num_experts", "did you mean 'experts'"),
        ("--columns=experts", "NAME=COLUMN"),
        ("--fixed=start", "NAME=VALUE"),
        ("--fixed=start=much", "'much'"),
        ("--fixed=begin=1", "allowed: "),
    ):
        refused = command(*given, "--columns=experts=num_experts", flag)
        assert refused.returncode == 2
        assert words in refused.stderr, refused.stderr


def routed_law(**columns):
    """The law `routed` at made-up parameters."""
    values = {"a": 0.08, "b": 0.1, "c": 0.005, "d": 2.2, "start": 1.5, "most": 300.0}
    return At.of(LAWS["routed"], values).predict(columns)


def test_command_fits_a_law_of_schedules_to_logged_curves(tmp_path):
    step = np.linspace(1000, 20000, 25)
    share = (step - 1000) / 19000
    rates = {
        "constant": np.full(25, 3e-4),
        "cosine": 3e-5 + 2.7e-4 * (1 + np.cos(np.pi * share)) / 2,
        "drop": np.where(share < 0.5, 3e-4, 3e-5),
    }
    for name, rate in rates.items():
        curve = pd.DataFrame({"schedule": name, "step": step, "lr": rate, "loss": 1.0})
        curve = annealing_columns(curve, warmup=500)
        curve["val"] = 2.9 + 0.6 * curve["S1"] ** -0.4 - 0.35 * curve["S2"]
        curve[["step", "lr", "val"]].to_csv(tmp_path / f"{name}.csv", index=False)
    out = tmp_path / "law.json"
    given = (f"--runs={tmp_path}/*.csv", "--loss=val", "--warmup=500", "--bootstrap=0")
    done = command(*given, "--law=annealing", "--starts=32", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert load(str(out)).params["C"] == pytest.approx(0.35, rel=1e-5)
    assert load(str(out)).n == 75
    done = command(f"--runs={tmp_path}/drop.csv", "--law=multi_power")
    assert done.returncode == 2
    assert "no column 'loss'" in done.stderr
    assert "schedule, step, lr, loss" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--runs: not given"),
        (("--runs=/nowhere.csv", "--law=chinchila"), "did you mean"),
        (("--runz=x",), "runz"),
    ],
)
def test_command_refuses_in_one_line(arguments, words):
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("flag", "free_of"), [("--help", "rich"), ("--law=list", "scipy")])
def test_help_and_the_list_of_laws_import_nothing_heavy(flag, free_of):
    code = (
        f"import sys, runpy; sys.argv = ['fit', {flag!r}]\n"
        "try: runpy.run_module('scaling.fit', run_name='__main__')\n"
        "except SystemExit as ended: assert not ended.code\n"
        f"heavy = {{'jax', 'pandas', 'matplotlib', {free_of!r}}} & set(sys.modules)\n"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "chinchilla" in done.stdout
