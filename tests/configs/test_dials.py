"""Dials of recipes on the command line, and what a field overridden by hand leaves behind."""

import importlib
import inspect
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from configs import base, gpt, gpt_large, linear
from scaling.plan.ladder import Ladder
from tests.conftest import ROOT
from train import config as configuration
from train.dials import left_behind

RECIPES = [
    path.stem for path in (ROOT / "configs").glob("*.py") if "def recipe" in path.read_text()
]


def notes(*argv: str) -> list[str]:
    """What a command with these flags says about its config."""
    sys.modules.pop("config_config", None)  # a command reads one config
    given = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=given, sys_argv=["train", *argv])
    given(["train", *argv])
    return left_behind(given["config"], given.config.to_dict())


def test_dials_are_those_of_the_recipe():
    config = gpt.get_config("width=128,tokens=1e7")
    assert config.to_dict() == gpt.recipe(128, 1e7).to_dict() | {"steps": 78_125}
    assert gpt.get_config("width=32").steps == gpt.get_config().steps == 7812
    assert gpt.get_config().to_dict() == gpt.get_config("width=64,tokens=1e6").to_dict()
    assert linear.get_config("samples=100").steps == 12  # of 8
    assert linear.get_config("samples=1").steps == 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_turned(name):
    experiment = importlib.import_module(f"configs.{name}")
    size, units = inspect.signature(experiment.recipe).parameters
    dial = 33 if size == "depths" else 256
    config = experiment.get_config(f"{size}={dial},{units}=1e7")
    resolved = configuration.resolve(config.to_dict())
    assert config.to_dict() == experiment.recipe(dial, 1e7).to_dict() | {"steps": resolved.steps}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("widht=128", "dial 'widht'; did you mean 'width'? allowed: width, tokens"),
        ("128", "dial '128'; allowed: width, tokens"),
        ("width=128,width=64", "dial 'width'; given twice"),
        ("width=1.5", "width=1.5; a positive whole number, at most 1e+06"),
        ("width", "width=; a positive whole number"),
        ("width=1e300", "width=1e300; a positive whole number"),
        ("width=7", "width: 7; must be even"),
        ("tokens=-1", "tokens=-1; a positive number"),
        ("tokens=nan", "tokens=nan; a positive number"),
    ],
)
def test_a_wrong_dial_is_one_clear_line(text, says):
    with pytest.raises(base.BadDial) as error:
        gpt.get_config(text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(flags.Error):  # which every command prints as one line
        notes(f"--config=configs/gpt.py:{text}")


def test_an_overridden_dial_says_what_it_leaves_behind():
    (note,) = notes("--config=configs/gpt.py", "--config.model.width=256")
    assert note == (
        "--config.model.width=256 leaves model.heads, model.hidden, model.kv_heads, model.layers, "
        "optimizer.learning_rate as they were; --config=configs/gpt.py:width=256 sets them too"
    )
    (note,) = notes(
        "--config=configs/gpt.py", "--config.model.width=128", "--config.model.hidden=512"
    )
    assert "leaves optimizer.learning_rate as" in note  # 2 layers and 2 heads are right
    (note,) = notes("--config=configs/gpt_large.py:size=124e6", "--config.steps=100")
    assert note.startswith("--config.steps=100 leaves batch_size, ")
    assert note.endswith("gpt_large.py:tokens=1.31072e+07 sets them too")


@pytest.mark.parametrize(
    "argv",
    [
        ("configs/gpt.py",),
        ("configs/gpt.py:width=128", "--config.optimizer.learning_rate=0.1"),
        ("configs/gpt.py:width=128", "--config.model.width=128"),
        ("configs/gpt.py", "--config.steps=7"),  # nothing but the log follows
        ("configs/gpt.py", "--config.model.layers=3"),
        ("configs/gpt.py", "--config.model.width=7"),  # refused later
        ("configs/gpt_large.py", "--config.steps=-5"),  # and this
        ("configs/gpt_large.py", "--config.steps=3 epochs"),  # the data tell what these are
        ("configs/gpt_large.py", "--config.batch_size=0", "--config.steps=5"),
        ("configs/linear.py", "--config.model.features=64"),
        ("configs/studies/demo.py", "--config.noise=0.1"),
    ],
)
def test_nothing_is_said_where_nothing_is_left_behind(argv):
    assert notes(f"--config={argv[0]}", *argv[1:]) == []


def test_large_recipe_counts_its_parameters_and_takes_the_nearest_width():
    ladder = Ladder("configs/gpt_large.py", unique=1e9)
    for width in (256, 640, 1024, 4096):
        assert ladder.N(width) == pytest.approx(gpt_large.parameters(width), rel=2e-2)
    chosen = {
        size: gpt_large.get_config(f"size={size}").model for size in ("124e6", "1.3e9", "8e9")
    }
    assert [model.width for model in chosen.values()] == [768, 2048, 4096]
    assert [(m.heads, m.kv_heads, m.layers) for m in chosen.values()] == [
        (12, 3, 12),
        (16, 4, 21),
        (32, 8, 32),
    ]
    with pytest.raises(base.BadDial, match="give one of the two"):
        gpt_large.get_config("size=1e9,width=1024")
    with pytest.raises(base.BadDial, match="width: 1000; must be a multiple of 128"):
        gpt_large.get_config("width=1000")


def test_large_recipe_follows_the_published_rules():
    # Step Law, eq. 1, by hand for 1.213 B parameters, 1.145 B of them without the embedding.
    config = gpt_large.get_config("size=1.3e9,tokens=2.6e10")
    assert config.optimizer.learning_rate == pytest.approx(9.9e-4, rel=0.03)
    assert config.batch_size == 256  # 5.1e5 tokens are 249 windows
    assert config.steps == round(2.6e10 / 256 / 2048)
    assert config.schedule.final * config.optimizer.learning_rate == pytest.approx(1e-5, rel=0.01)
    assert config.schedule.warmup * config.steps == pytest.approx(2000)
    # Decay: the usual .1 at 20 tokens a parameter, whatever the size, up to the batch's rounding.
    for size in ("124e6", "1.3e9", "8e9"):
        assert 0.06 < gpt_large.get_config(f"size={size}").optimizer.weight_decay < 0.14
