"""What all experiments share. An experiment's file starts from this and sets the rest.

The dials of a recipe stand behind the name of its file: configs/gpt.py:width=128,tokens=1e7
"""

import contextlib
import difflib
import inspect
import math
from collections.abc import Callable
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

# Of a data set's texts: as they are, see data.sources.cleaning.
CLEANING = {"unicode": "none", "shortest": 0, "longest": 0, "similar": 0.0}
LARGEST = {int: 1e6, float: 1e18}  # of a dial


class BadDial(flags.Error):
    """A dial that a recipe does not have or cannot make a run of; a command prints it as it is."""


class _Duration(flags.ArgumentParser):
    """Parses a number, or leaves a text for train.duration."""

    def parse(self, given: Any) -> Any:
        for kind in (int, float) if isinstance(given, str) else ():
            with contextlib.suppress(ValueError):
                return kind(given)
        return given


# A flag's type is its field's: that of a field which takes a number or a text is object.
config_flags.register_flag_parser_for_type(object, _Duration())


def _duration(value: float) -> FieldReference:
    return FieldReference(value, field_type=object)


def get_config() -> ConfigDict:
    """Training fields with the values that an experiment keeps unless it says otherwise."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": _duration(1000),
            "batch_size": 32,
            "accumulate": 1,
            "microbatches": 0,
            "log_every": _duration(10),
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "weight_decay": 0.1,
                "b1": 0.9,
                "b2": 0.95,
                "eps": 1e-8,
                "clip_norm": 1.0,
                "groups": (),
            },
            "schedule": {
                "name": "cosine",
                "warmup": _duration(0.1),
                "cooldown": _duration(0.0),
                "final": 0.0,
            },
            "evaluation": {"every": _duration(0), "batch_size": 64, "error": 0.0},
            "checkpoint": {"every": _duration(500), "keep": 2, "best": 0},
            "mesh": {
                "slice": 1,
                "data": -1,
                "fsdp": 1,
                "tensor": 1,
                "context": 1,
                "expert": 1,
                "stage": 1,
            },
            "evals": {},
            "start": {"run": "", "step": 0, "take": ("params/*",), "rename": ()},
        }
    )


def dials(text: str, **kinds: type) -> dict[str, float]:
    """Reads "width=128,tokens=1e7".

    Args:
      text: what stands behind the ':'; may be empty.
      kinds: the dials there are, each int or float.

    Returns:
      Those given.

    Raises:
      BadDial: no such dial, one given twice, or a value that is not a positive number of its kind.
    """
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise BadDial(f"--config: dial {name!r}; {hint}allowed: {', '.join(kinds)}")
        if name in found:
            raise BadDial(f"--config: dial {name!r}; given twice")
        kind = kinds[name]
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number <= LARGEST[kind] or kind(number) != number:
            what = "a positive whole number" if kind is int else "a positive number"
            raise BadDial(f"--config: {name}={value}; {what}, at most {LARGEST[kind]:g}")
        found[name] = kind(number)
    return found


def run(
    recipe: Callable[..., ConfigDict], given: str, size: int, D: float, units_a_row: float = 0
) -> ConfigDict:
    """One run of a recipe, by its dials.

    Args:
      recipe: makes a config of a size and a number of units; its parameters' names are the dials.
      given: see `dials`.
      size, D: of the dials that are not given. Where the units are not, the steps stay as they are.
      units_a_row: see `steps`.
    """
    dial, units = inspect.signature(recipe).parameters
    found = dials(given, **{dial: int, units: float})
    config = recipe(found.get(dial, size), found.get(units, D))
    if units in found:
        config.steps = steps(config, found[units], units_a_row)
    return config


def steps(config: ConfigDict, D: float, units_a_row: float = 0) -> int:
    """Whole steps, at least one, that see D units.

    A row has `units_a_row`, where the data's mean is known to the experiment (as UNITS_A_ROW, for
    train.dials), else its sequence length, else one.
    """
    units_a_row = units_a_row or config.data.get("sequence_length", 1)
    return max(1, round(D / (config.batch_size * units_a_row)))


def mup(width: int, base_width: int) -> tuple[dict, ...]:
    """Groups of config.optimizer with which the best learning rate of one width is that of another.

    Those of Adam in the maximal update parametrization (Yang et al. 2022, arXiv:2203.03466, table
    3): weights whose inputs grow with width have rates that fall as 1 / width. What a step takes of
    a weight by decay stays as it is (Wang and Aitchison 2024, arXiv:2405.13698). First values,
    multipliers and the scale of attention are a model's own.

    Args:
      width: of the run.
      base_width: where the learning rate was chosen.
    """
    wider = width / base_width
    return tuple(
        {"match": f"role:{role}", "rate": 1 / wider, "decay": wider, "every": 1}
        for role in ("hidden", "output")
    )
