import dataclasses
import itertools
import re

import pytest

from configs.studies import demo, linear
from scaling import plan as planning
from scaling.ladder import Ladder
from train import config as configuration
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


def test_the_same_study_gives_the_same_bytes(plan, tmp_path):
    planning.save(tmp_path / "a.json", plan)
    planning.save(tmp_path / "b.json", planning.make(settings()))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert planning.load(tmp_path / "a.json").runs == plan.runs


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
    with pytest.raises(InputError, match="config_sha256 does not fit"):
        planning.load(path)
    for text in ("{}", "[]", '{"version": 1}', '{"version": 1, "study": {}, "runs": [{}]}'):
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(str(path))):
            planning.load(path)


def test_the_recipe_fits_every_rung():
    ladder, sizes = Ladder("configs/gpt.py"), demo.get_config().sizes
    counts = [ladder.N(size) for size in sizes]
    assert counts == sorted(counts)
    assert max(b / a for a, b in itertools.pairwise(counts)) < 2, "a gap in the ladder"
    a, b = ladder.at(sizes[0], 1e5).config, ladder.at(sizes[0], 4e5).config
    assert b.steps * b.batch_size == pytest.approx(4 * a.steps * a.batch_size, rel=0.01)
    assert configuration.digest(a) != configuration.digest(b)
