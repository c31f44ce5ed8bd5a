"""Durations: what they come to, by hand; and that a run holds the plain numbers alone."""

import re

import pytest
from absl import flags
from ml_collections import config_flags

from configs import gpt, linear
from tests.train.test_seam import with_toys
from tests.train.toys import config as toy
from tests.train.toys import further
from train import before, duration
from train import config as configuration
from train.cli import InputError

__all__ = ["with_toys"]

DATA = {"unit": "token", "units_per_row": 25.0, "train_rows": 1000}  # 250 tokens a step
BASE = {"batch_size": 10, "steps": 400, "log_every": 1, "schedule": {"warmup": 0.1}}


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("500 steps", 500),
        ("1 step", 1),
        ("3 epochs", 300),
        ("0.5epochs", 50),
        ("2e4 tokens", 80),
        ("1 token", 1),  # at least one step
        ("0 steps", 0),
        ("10%", 40),
        ("1e-3 %", 1),
    ],
)
def test_a_duration_is_steps(text, steps):
    found = duration.plain(BASE | {"log_every": text}, DATA.get)
    assert found == BASE | {"log_every": steps}
    if "%" not in text:
        assert duration.plain(BASE | {"steps": text}, DATA.get)["steps"] == steps


def test_every_field_of_a_time_takes_one():
    given = BASE | {"steps": "4 epochs"}  # 400 steps
    given |= {name: {"every": "1 epoch"} for name in ("evaluation", "checkpoint")}
    given |= {"evals": {"a": {"every": "25%"}, "b": {"every": 3}}}
    given |= {"schedule": {"warmup": "5e3 tokens", "cooldown": "20%"}}
    found = duration.plain(given, DATA.get)
    assert found["steps"] == 400
    assert found["evaluation"] == found["checkpoint"] == {"every": 100}
    assert found["evals"] == {"a": {"every": 100}, "b": {"every": 3}}
    assert found["schedule"] == {"warmup": 0.05, "cooldown": 0.2}


def test_the_data_are_asked_only_for_what_they_know():
    def nobody(name):
        raise AssertionError(name)

    given = {"steps": "80 steps", "schedule": {"warmup": "20 steps"}, "log_every": "5%"}
    found = duration.plain(BASE | given, nobody)
    assert (found["steps"], found["log_every"], found["schedule"]["warmup"]) == (80, 4, 0.25)
    assert duration.plain(BASE, nobody) == BASE


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": "many"}, "config.steps: 'many'; must be int or float, or such as '500 steps'"),
        ({"steps": "-3 epochs"}, "config.steps: '-3 epochs'; must be int or float, or such as"),
        ({"steps": "1e99 steps"}, "config.steps: '1e99 steps'; must be int or float, or such"),
        ({"steps": "10%"}, "config.steps: '10%'; allowed: epochs, steps, tokens"),
        ({"log_every": "3 epocs"}, "config.log_every: '3 epocs'; did you mean 'epochs'? allowed"),
        ({"steps": 0, "log_every": "9%"}, "config.log_every: '9%'; config.steps is 0; at least 1"),
        (
            {"batch_size": "x", "schedule": {"warmup": "1 epoch"}},
            "config.schedule.warmup: '1 epoch'; config.batch_size is 'x'; at least 1",
        ),
    ],
)
def test_what_is_no_duration_is_one_line(changes, says):
    with pytest.raises(InputError, match=re.escape(says)):
        duration.plain(BASE | changes, DATA.get)


def test_a_run_holds_plain_numbers():
    given = linear.get_config()
    given.update_from_flattened_dict({"steps": "80 samples", "log_every": "20%"})
    plain = linear.get_config()
    plain.update_from_flattened_dict({"steps": 10, "log_every": 2})
    found, expected = (configuration.resolve(values.to_dict()) for values in (given, plain))
    assert found == expected
    assert configuration.to_dict(found)["steps"] == 10
    assert configuration.digest(found) == configuration.digest(expected)


def test_epochs_are_of_the_data_opened(tiny):
    run = tiny(steps="2 epochs", **{"evaluation.every": "1 epoch"})
    rows = before.open_data(run).train_rows
    assert (run.steps, run.evaluation.every) == (round(rows * 2 / 4), round(rows / 4))
    with pytest.raises(InputError, match=r"config.steps: '1 epoch'; these data have no epochs"):
        toy(steps="1 epoch")
    sets = further(few={"every": "50%"})
    assert toy(steps="64 copy", evals=sets).evals["few"].every == 2  # 16 a step
    with pytest.raises(InputError, match=r"config.data: .*no-such-folder"):
        tiny(steps="1 epoch", **{"data.source": "folder:/no-such-folder"})


def test_flags_take_durations_and_numbers():
    argv = [
        "train",
        "--config=configs/gpt.py",
        "--config.steps=3 epochs",
        "--config.log_every",
        "7",
    ]
    argv += ["--config.schedule.warmup=2e4 tokens", "--config.schedule.cooldown=0.25"]
    given = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=given, sys_argv=argv)
    assert given(argv) == ["train"]
    found = given.config.to_dict()
    assert (found["steps"], found["log_every"]) == ("3 epochs", 7)
    assert found["schedule"] == gpt.get_config().schedule.to_dict() | {
        "warmup": "2e4 tokens",
        "cooldown": 0.25,
    }
