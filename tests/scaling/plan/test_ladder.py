"""A recipe's ladder: the runs of its sizes and budgets."""

import itertools
import shutil

import pytest

from configs.studies import demo
from scaling.plan.ladder import Ladder
from train import before
from train.cli import InputError
from train.identity import digest_of


def test_the_recipe_fits_every_rung():
    ladder, sizes = Ladder("configs/gpt.py"), demo.get_config().sizes
    counts = [ladder.N(size) for size in sizes]
    assert counts == sorted(counts)
    assert max(b / a for a, b in itertools.pairwise(counts)) < 2, "a gap in the ladder"
    a, b = ladder.at(sizes[0], 1e5).config, ladder.at(sizes[0], 4e5).config
    steps = [config["steps"] * config["batch_size"] for config in (a, b)]
    assert steps[1] == pytest.approx(4 * steps[0], rel=0.01)
    assert digest_of(a) != digest_of(b)


def test_a_branch_is_planned_on_top_of_its_trunk(tmp_path):
    (tmp_path / "trunk" / "checkpoints" / "30").mkdir(parents=True)
    experiment = tmp_path / "branch.py"
    experiment.write_text(
        "from configs import linear\n"
        "def recipe(features, samples):\n"
        "  config = linear.recipe(features, samples)\n"
        f"  config.start.update(run={str(tmp_path / 'trunk')!r}, take=('step', 'params/*'))\n"
        "  return config\n"
    )
    branch, alone = (Ladder(str(path)).at(16, 4e3) for path in (experiment, "configs/linear.py"))
    assert (branch.D, branch.C, branch.epochs) == (alone.D, alone.C, alone.epochs)
    assert branch.config["steps"] == 30 + alone.config["steps"]
    assert (branch.config["start"]["step"], alone.config["start"]["step"]) == (30, 0)
    tuned = tmp_path / "tuned.py"
    tuned.write_text(experiment.read_text().replace("'step', 'params/*'", "'params/*',"))
    first = Ladder(str(tuned)).at(16, 4e3)
    (tmp_path / "trunk" / "checkpoints" / "40").mkdir()  # the trunk has gone on
    again = [Ladder(str(path)).at(16, 4e3).config["start"]["step"] for path in (tuned, experiment)]
    assert (first.config["start"]["step"], first.config["steps"]) == (30, alone.config["steps"])
    assert again == [40, 40]
    shutil.rmtree(tmp_path / "trunk")
    with pytest.raises(InputError, match=r"config.start.run: .*trunk'; it has no checkpoint"):
        Ladder(str(experiment)).at(16, 4e3)


def test_a_budget_is_spent_where_longer_runs_take_longer_rows(tmp_path, monkeypatch):
    experiment = tmp_path / "longer.py"
    experiment.write_text(
        "from configs import linear\n"
        "def recipe(features, samples):\n"
        "  config = linear.recipe(features, samples)\n"
        "  config.data.noise = samples / (samples + 1e4)\n"
        "  return config\n"
    )
    open_data = before.open_data

    def longer(config):
        dataset = open_data(config)
        dataset.units_per_row = 1 + 4 * config.data.config.noise
        return dataset

    monkeypatch.setattr(before, "open_data", longer)
    row = Ladder("configs/linear.py").at(16, 8.0).C["forward"] / 8
    made = Ladder(str(experiment)).at_budget(16, 1e5 * row)
    assert made.C["forward"] == pytest.approx(1e5 * row, rel=0.01)
    assert pytest.approx(1e5, rel=0.01) == made.D / 4.92  # rows, of so many units
