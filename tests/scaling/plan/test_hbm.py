"""A plan's runs against the memory of TPUs that are not here."""

import dataclasses
import importlib.util

import pytest

from configs.studies import demo
from scaling.plan import hbm, planning
from tests import verbs
from train.cli import InputError
from train.compile import ahead

GiB = 2**30


@pytest.fixture(scope="module")
def plan():
    config = demo.get_config()
    config.update(sizes=(8, 12), budgets=(1e8, 2e8), sizes_per_budget=2, heldout=(), seeds=(0, 1))
    return planning.make(planning.resolve(config.to_dict()))


def test_each_shape_is_compiled_once_the_dearest_first(plan, monkeypatch, capsys):
    widths = []

    def compile_step(config, name):
        assert name == "v5e:1x1"
        widths.append(config.model.config.width)
        memory = ahead.Memory(total=widths[-1] * GiB, available=10 * GiB)
        return ahead.Report(name, 1, 1, {}, 1, memory, None, 1.0)

    monkeypatch.setattr(ahead, "compile_step", compile_step)
    assert len(plan.runs) == 8  # two budgets, sizes and seeds
    assert not hbm.check(plan, "v5e:1x1")
    assert widths == [12, 8]
    dearest, other, verdict = capsys.readouterr().out.splitlines()
    assert dearest.endswith("3 like it: 12.00 of 10.00 GiB of HBM on a device: does not fit")
    assert other.endswith("3 like it: 8.00 of 10.00 GiB of HBM on a device: fits")
    assert verdict == "compiled for v5e:1x1: 1 of 2 shapes of runs fit"
    small = dataclasses.replace(plan, runs=tuple(run for run in plan.runs if run.size == 8))
    assert hbm.check(small, "v5e:1x1")
    assert "1 of 1 shapes" in capsys.readouterr().out


def test_a_run_that_cannot_be_split_is_named(plan, monkeypatch):
    def compile_step(config, name):
        raise InputError("config.batch_size: 2; must be a multiple of data = 8")

    monkeypatch.setattr(ahead, "compile_step", compile_step)
    with pytest.raises(InputError, match=r"-w12-s0 on v5e:2x4: config\.batch_size: 2"):
        hbm.check(plan, "v5e:2x4")


def command(workdir, topology: str) -> verbs.Done:
    study = ["--config=configs/studies/demo.py", f"--workdir={workdir}", f"--topology={topology}"]
    study += ["--config.budgets=(1e8,)", "--config.heldout=()", "--config.sizes_per_budget=1"]
    return verbs.call("scaling.plan", *study)


def test_a_wrong_topology_is_refused_before_anything_is_written(tmp_path):
    done = command(tmp_path, "v5f:2x4")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --topology: 'v5f:2x4'; did you mean")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu: pip install 'jax[tpu]'"
)
def test_the_command(tmp_path):
    done = command(tmp_path, "v5e:1x1")
    assert done.returncode == 0, done.stderr
    assert "of 15.75 GiB of HBM on a device: fits" in done.stdout
    assert done.stdout.rstrip().endswith("compiled for v5e:1x1: 1 of 1 shapes of runs fit")
