import dataclasses
import hashlib
import itertools
import math
import pathlib
import re
import types

import numpy as np
import pandas as pd
import pytest

from configs.studies import demo, gpt_large, linear
from scaling.allocate.allocating import by_law
from scaling.console.budget import budget_of
from scaling.design.designing import to_csv
from scaling.design.points import Design
from scaling.fit.ready import published
from scaling.plan import answer, planning, prices
from scaling.runs import plans
from scaling.study import line
from tests import verbs
from train import record
from train.cli import InputError


def settings(**changes) -> planning.Study:
    config = linear.get_config()
    config.update_from_flattened_dict(changes)
    return planning.resolve(config.to_dict())


@pytest.fixture(scope="module")
def plan():
    return planning.make(settings())


def test_runs_cost_their_budget(plan):
    for run in plan.runs:
        half_a_step = run.C["forward"] / run.config["steps"] / 2
        assert run.C["forward"] == pytest.approx(run.budget, abs=half_a_step)
        assert run.config["steps"] * run.config["batch_size"] == run.D
        assert run.D * run.N["total"] * 6 == run.C["6nd"]


def test_each_budget_has_its_sizes_around_the_expected_optimum(plan):
    study = settings()
    for budget in study.budgets:
        sizes = [run.N["total"] for run in plan.runs if run.role == "fit" and run.budget == budget]
        expected = study.prior.coefficient * budget**study.prior.exponent
        assert len(sizes) == study.sizes_per_budget
        assert sizes == sorted(sizes)
        assert sizes[0] <= expected <= sizes[-1]


def test_held_out_runs_lie_beyond_every_other(plan):
    (heldout,) = (run for run in plan.runs if run.role == "heldout")
    largest = max(run.C["forward"] for run in plan.runs if run.role == "fit")
    assert heldout.C["forward"] == pytest.approx(4 * largest, rel=0.01)


def test_the_demo_is_what_it_promises():
    study = planning.resolve(demo.get_config().to_dict())
    runs = planning.make(study).runs
    budgets = {run.budget for run in runs if run.role == "fit"}
    assert len(budgets) >= 4
    assert max(budgets) / min(budgets) >= 10**1.5
    for budget in budgets:
        assert len({run.size for run in runs if run.budget == budget}) >= 5
    heldout = [run for run in runs if run.role == "heldout"]
    assert heldout
    assert all(run.C["forward"] >= 3.99 * max(budgets) for run in heldout)
    assert all(run.epochs <= 1 for run in runs)
    assert len({run.run for run in runs}) == len({run.config_sha256 for run in runs}) == len(runs)
    # The recipe gives the same runs bit for bit: records of them stay records of this plan.
    digests = "".join(run.config_sha256 for run in runs)
    assert hashlib.sha256(digests.encode()).hexdigest()[:16] == "e2b2179a253a8bf3"


def test_the_same_study_gives_the_same_bytes(plan, tmp_path):
    plans.save(tmp_path / "a.json", plan)
    plans.save(tmp_path / "b.json", planning.make(settings()))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert planning.load(tmp_path / "a.json").runs == plan.runs


def test_a_budget_for_the_whole_study_is_spent_and_not_exceeded():
    study = settings()
    flops = 3.3 * sum(run.C["forward"] for run in planning.make(study).runs)
    larger = planning.make(planning.scaled(study, flops))
    spent = sum(run.C["forward"] for run in larger.runs)
    assert 0.98 * flops < spent <= 1.001 * flops
    budgets = larger.study["budgets"]
    ratios = [b / a for a, b in itertools.pairwise(budgets)]
    assert ratios == pytest.approx([4.0] * 4, rel=0.01)
    assert all(float(f"{budget:.2e}") == budget for budget in budgets)


@pytest.mark.slow
def test_expected_widths_are_those_of_studies_simulated_and_fitted_one_by_one():
    from scaling.fit.fitting import fit
    from scaling.fit.ready import published

    law = published("besiroglu2024")
    study = settings(budgets=(1e18, 3e18, 1e19, 3e19), law="besiroglu2024", noise=0.004)
    planned = planning.make(settings(budgets=(1e4, 4e4, 1.6e5, 6.4e5)))
    N = {run.run: 2e5 * run.N["total"] for run in planned.runs}
    runs = [
        dataclasses.replace(
            run,
            N={"total": N[run.run]},
            D=run.budget * 1e14 / 6 / N[run.run],
            C={"forward": run.budget * 1e14},
        )
        for run in planned.runs
    ]
    made = plans.Plan(dataclasses.asdict(study), tuple(runs))
    found = answer.expected(made)
    assert found.noise == 0.004
    assert found.noise_source == "given"
    held = runs[-1]
    assert (held.N["total"], held.D) == (found.target.N, found.target.D)
    table = pd.DataFrame(
        [{"N": r.N["total"], "D": r.D, "C": r.C["forward"]} for r in runs if r.role == "fit"]
    )
    rng, losses, exponents = np.random.default_rng(3), [], []
    for _ in range(40):
        noisy = law.predict(table["N"], table["D"]) * np.exp(0.004 * rng.standard_normal(20))
        one = fit(table.assign(loss=noisy), bootstrap=0, starts=4)
        losses.append(float(one.predict(held.N["total"], held.D)))
        p = one.params
        exponents.append(p["beta"] / (p["alpha"] + p["beta"]))
    # The spread of 40 draws is known to 11%: standard deviations, which need fewer draws.
    wide = 2 * 1.645 * np.std(np.log(losses))
    assert found.promise.loss_width == pytest.approx(wide, rel=0.25)
    assert found.promise.exponent_width == pytest.approx(2 * 1.645 * np.std(exponents), rel=0.25)


def test_no_law_means_nothing_to_expect_and_a_wrong_one_is_named(plan):
    assert answer.expected(plan) is None
    study = plan.study | {"law": "besiroglu"}
    with pytest.raises(InputError, match=r"study\.law: 'besiroglu'; did you mean 'besiroglu2024'"):
        answer.expected(dataclasses.replace(plan, study=study))


def test_the_command_shows_time_memory_and_money(tmp_path):
    flags = ["--throughput=1e9", "--price=3.6", "--hours=0.001", f"--workdir={tmp_path}"]
    done = verbs.call("scaling.plan", "--config=configs/studies/linear.py", *flags)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert re.search(r"26 runs, 3\.\d+e\+09 FLOPs in all, 3\.\d+ s, \$0\.00", shown)
    for words in ("wall time", "of activations (an estimate)", "1e+09 FLOP/s each, as given"):
        assert words in shown
    (budgets,) = re.findall(r"--config.budgets='(\(.*\))'", shown)
    there = planning.load(tmp_path / "plan.json")
    again = planning.make(settings(budgets=tuple(map(float, budgets.strip("(),").split(",")))))
    assert there.runs == again.runs


def test_seeds_make_replicates():
    runs = planning.make(settings(seeds=(0, 1))).runs
    fits = [run for run in runs if run.role == "fit"]
    assert len(fits) == 2 * 25
    assert {run.seed for run in fits} == {0, 1}
    assert all(run.config["seed"] == run.seed for run in runs)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sizes_per_budget": 50}, "study.sizes_per_budget: 50; from 1 to 10"),
        ({"heldout": (0.5,)}, "study.heldout: (0.5,); must lie above 1"),
        ({"budgets": (1e4, 1e4)}, "study.budgets: (10000.0, 10000.0); must be distinct"),
        ({"noise": 2.0}, "study.noise: 2.0; from 0 to 0.5"),
        ({"prior.exponent": -1.0}, "study.prior.coefficient: 0.26, -1.0"),
        ({"experiment": "configs/nothing.py"}, "study.experiment: 'configs/nothing.py'; no such"),
        ({"experiment": "configs/base.py"}, "configs/base.py: has no function recipe(size, D)"),
    ],
)
def test_a_bad_study_is_one_clear_line(changes, says):
    with pytest.raises(InputError, match=re.escape(says)):
        planning.make(settings(**changes))


def test_repeated_data_is_refused_unless_allowed():
    study = planning.resolve(demo.get_config().to_dict())
    study = dataclasses.replace(study, budgets=(1e14,), sizes_per_budget=1, heldout=(), sizes=(32,))
    with pytest.raises(InputError, match=r"study.max_epochs: 1; .* needs \d+\.\d\d passes"):
        planning.make(study)
    (run,) = planning.make(dataclasses.replace(study, max_epochs=1000.0)).runs
    assert run.epochs > 1


def test_a_plan_that_was_tampered_with_is_refused(plan, tmp_path):
    path = tmp_path / "plan.json"
    values = dataclasses.asdict(plan)
    values["runs"][3]["config"]["optimizer"]["learning_rate"] = 0.9
    record.save_json(path, values)
    with pytest.raises(InputError, match="config_sha256: does not fit"):
        planning.load(path)
    for text in ("{}", "[]", '{"version": 1}', '{"version": 1, "study": {}, "runs": [{}]}'):
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(str(path))):
            planning.load(path)


def test_names_say_what_the_size_is_and_old_names_stay(plan, tmp_path):
    assert re.fullmatch(r"fit-c2\.00e04-f\d+-s0", plan.runs[0].run)  # features
    old = [dataclasses.replace(r, run=r.run.replace("-f", "-n")) for r in plan.runs]
    there = dataclasses.replace(plan, runs=tuple(old))
    assert [r.run for r in planning.with_names_of(plan, there).runs] == [r.run for r in old]
    fewer = dataclasses.replace(there, runs=there.runs[1:])
    assert planning.with_names_of(plan, fewer) == plan


def test_a_study_goes_on_under_the_names_of_its_plan(plan, tmp_path):
    old = [dataclasses.replace(r, run=r.run.replace("-f", "-n")) for r in plan.runs]
    plans.save(tmp_path / "plan.json", dataclasses.replace(plan, runs=tuple(old)))
    assert [r.run for r in line._plan(settings(), tmp_path).runs] == [r.run for r in old]
    with pytest.raises(InputError, match="holds another study"):
        line._plan(settings(seeds=(1,)), tmp_path)


def test_the_runs_of_a_design_are_planned(tmp_path):
    N, D = np.array([8.0, 13.0, 8.0, 90.0]), np.array([800.0, 4000.0, 800.0, 1e4])
    (tmp_path / "design.csv").write_text(to_csv(Design("D-optimal", N, D, 6 * N * D)))
    points = planning.read_points(str(tmp_path / "design.csv"))
    assert points == list(zip(N, D))
    made = planning.make(settings(), points)
    *fits, heldout = made.runs
    assert [(run.size, run.D) for run in fits] == [(8, 800), (12, 4000), (8, 800), (96, 1e4)]
    assert [run.seed for run in fits] == [0, 0, 1, 0]  # the same run again is a replicate
    assert len({run.run for run in made.runs}) == len({run.config_sha256 for run in made.runs}) == 5
    assert heldout.C["forward"] == pytest.approx(4 * fits[-1].C["forward"], rel=0.01)
    plans.save(tmp_path / "plan.json", made)
    assert planning.load(tmp_path / "plan.json").runs == made.runs
    two = planning.make(settings(seeds=(0, 3)), points).runs
    assert [run.seed for run in two[:-1]] == [0, 3, 0, 3, 4, 7, 0, 3]
    with pytest.raises(InputError, match=r"--points: N = 1e\+03; the nearest of study.sizes is 96"):
        planning.make(settings(), [(1e3, 1e4)])


@pytest.fixture(scope="module")
def large():
    config = gpt_large.get_config()
    config.update(
        sizes=(256, 384, 512, 768),
        budgets=(1e16, 3e16, 1e17),
        sizes_per_budget=3,
        heldout=(16.0,),
        unique=3e8,
    )
    return planning.make(planning.resolve(config.to_dict()))


def test_data_that_is_not_here_is_planned_by_its_stated_size(large):
    assert not pathlib.Path(large.runs[0].config["data"]["source"].partition(":")[2]).exists()
    for run in large.runs:
        windows = 3e8 // 2048
        assert run.epochs == pytest.approx(run.D / windows / 2048)
    model = answer.model_of(large)
    assert model.epochs > 3
    # Where data repeat the best model is smaller than the prior says, by the law's own sum.
    best = by_law(published("besiroglu2024"), 1.6e18, 3e8).N
    assert best < 0.0478 * 1.6e18**0.5126
    assert model.size == 512
    with pytest.raises(InputError, match=r"study.unique: 1e\+06; must be 0 for data 'regression'"):
        planning.make(settings(unique=1e6))


def test_a_budget_in_days_is_of_all_devices():
    given = types.SimpleNamespace(flops=None, hours=None, days=14.0, money=None)
    flops = 14 * 24 * 3600 * 8 * 0.4 * 989e12
    assert budget_of(given, prices.rate("h100", devices=8)) == pytest.approx(flops)
    given.hours = 1.0
    with pytest.raises(InputError, match="--flops, --hours, --days, --money: 2 given"):
        budget_of(given, prices.rate("h100"))


def test_the_answer_in_words(large):
    rate = prices.rate("h100", devices=8)
    found = answer.expected(large)
    model = answer.model_of(large)
    # Repeated tokens are worth less than new ones; the law gives the same loss for what they are.
    assert 3e8 < found.worth < model.D
    law = published("besiroglu2024")
    assert float(law.predict(model.N["total"], found.worth)) == pytest.approx(found.loss, rel=1e-6)
    said = "\n".join(answer.in_words(large, rate, found))
    share = sum(r.C["forward"] for r in large.runs if r.role == "fit") / sum(
        r.C["forward"] for r in large.runs
    )
    for words in (
        "first 9 small runs, N 14.",
        f"{share:.1%} of all",
        f"{model.epochs:.2f} passes over 300M unique tokens",
        f"its loss: {found.loss:.3f}, 90% interval ",
    ):
        assert words in said
    low, high = map(float, re.search(r"interval ([\d.]+) to ([\d.]+)", said).groups())
    assert 0.02 < (high - low) / found.loss < 0.3
    table = answer.changes(large, found)
    cases = dict(zip(table.columns[0].cells, zip(*(list(c.cells) for c in table.columns[1:]))))
    loss = {name: float(values[-1]) for name, values in cases.items()}
    assert loss["all tokens new"] < loss["2 x the unique tokens"] < loss["nothing"]
    assert loss["2 x the compute, or the MFU"] < loss["nothing"] < loss["0.5 x the unique tokens"]


def test_a_plan_says_what_is_fitted_and_what_is_best(monkeypatch):
    from train import tasks

    known = tasks.load("regression")
    ends = {"r2": (1.0, -math.inf), "rmse": (0.0, math.inf), "error": (0.0, 1.0)}
    task = dataclasses.replace(known, OF_RECORD="rmse", RANGE=ends)
    monkeypatch.setattr(planning.tasks, "load", lambda name: task)
    small = {"budgets": (2e4, 8e4)}
    study = planning.make(settings(**small)).study
    assert study["target"] == "rmse"
    asked = settings(**small).__dict__ | {"target": "r2", "metrics": ("rmse",), "bar": {"q": 0.5}}
    study = planning.make(planning.Study(**asked | {"best": {"q": 1.0}})).study
    assert (study["target"], study["worst"]) == ("r2", {"error": 1})
    assert study["best"] == {"loss": 0, "r2": 1, "rmse": 0, "error": 0, "q": 1}
    with pytest.raises(InputError, match=r"study.bar: 'q'; .*allowed: error, loss, r2, rmse"):
        planning.make(planning.Study(**asked))


def test_a_plan_may_fit_what_a_further_set_says(tmp_path):
    experiment, small = tmp_path / "shifted.py", {"budgets": (2e4, 8e4)}
    experiment.write_text(
        "from configs import linear\n"
        "def recipe(features, samples):\n"
        "  config = linear.recipe(features, samples)\n"
        "  data = config.data.to_dict() | {'noise': 0.5}\n"
        "  own = {'every': 0, 'batch_size': 64, 'data': data, 'task': {'name': 'regression'}}\n"
        "  config.evals = {'noisy': own}\n"
        "  config.schedule.warmup, config.evaluation.every = '4 steps', '25%'\n"
        "  return config\n"
    )
    asked = settings(**small).__dict__ | {"experiment": str(experiment), "target": "noisy/loss"}
    plan = planning.make(planning.Study(**asked))
    assert plan.study["target"] == "noisy/loss"
    names = ("loss", "mae", "rmse")
    assert plan.study["best"] == dict.fromkeys([*names, *(f"noisy/{x}" for x in names)], 0.0)
    assert plan.runs[0].config["evals"]["noisy"]["data"]["noise"] == 0.5
    for run in plan.runs:  # durations are of each run's own steps
        assert run.config["schedule"]["warmup"] == 4 / run.config["steps"]
        assert run.config["evaluation"]["every"] == round(run.config["steps"] / 4)
    with pytest.raises(InputError, match=r"study.target: 'noisy/los'; did you mean 'noisy/loss'"):
        planning.make(planning.Study(**asked | {"target": "noisy/los"}))
    experiment.write_text(experiment.read_text().replace("'noise': 0.5", "'noise': -1.0"))
    with pytest.raises(InputError, match=r"^config\.evals\.noisy\.data: .*noise: -1\.0"):
        planning.make(planning.Study(**asked))


def test_metrics_of_a_study_are_typed():
    values = linear.get_config().to_dict()
    study = planning.resolve(values | {"metrics": ["a"], "bar": {"a": 1}})
    assert (study.metrics, study.bar, study.target) == (("a",), {"a": 1.0}, "")
    with pytest.raises(InputError, match=r"study.bar.a: 'x'; must be float"):
        planning.resolve(values | {"bar": {"a": "x"}})
