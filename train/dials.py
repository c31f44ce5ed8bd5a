"""Fields that a recipe derives from its dials, and that one overridden by hand leaves behind."""

import inspect
import sys
from collections.abc import Mapping
from typing import Any

from absl import flags

# How often a run says something follows its length, and changes no number.
_OF_NO_WEIGHT = ("steps", "log_every")
_ANY = 1e6  # units; fields that follow the size alone are looked for at one length


def left_behind(flag: Any, values: Mapping[str, Any]) -> list[str]:
    """In words, what no longer fits an overridden field; nothing where the file has no recipe.

    The size is the field of the model that is named as the recipe's first parameter, the length is
    `steps`.

    Args:
      flag: the --config flag, parsed.
      values: its values, overrides applied.
    """
    path, _, given = flag.config_filename.partition(":")
    experiment = sys.modules.get(f"{flag.name}_config")  # where ml_collections puts the file
    recipe = getattr(experiment, "recipe", None)
    if not callable(recipe) or len(inspect.signature(recipe).parameters) != 2:
        return []
    before = _flat(experiment.get_config(*[given] * bool(given)).to_dict())
    now = _flat(values)
    dial, units = inspect.signature(recipe).parameters
    size = before.get(f"model.{dial}"), now.get(f"model.{dial}")
    lines = []
    if None not in size and size[0] != size[1]:
        follow = _follow(recipe, (size[0], _ANY), (size[1], _ANY), before, now, flag)
        lines += _words(f"model.{dial}={size[1]}", follow, f"{path}:{dial}={size[1]}")
    # What a duration comes to, the data tell.
    known = not any(isinstance(flat["steps"], str) for flat in (before, now))
    if "steps" in flag.override_values and None not in size and known:
        length = _units(experiment, before, now)
        follow = _follow(recipe, (size[1], length[0]), (size[1], length[1]), before, now, flag)
        lines += _words(f"steps={now['steps']}", follow, f"{path}:{units}={length[1]:.6g}")
    return lines


def _units(experiment: Any, *configs: Mapping[str, Any]) -> list[float]:
    a_row = getattr(experiment, "UNITS_A_ROW", 0)
    lengths = (f["batch_size"] * (a_row or f.get("data.sequence_length", 1)) for f in configs)
    return [flat["steps"] * each for flat, each in zip(configs, lengths)]


def _follow(recipe, old, new, before, now, flag) -> list[str]:
    """Fields that the recipe makes differ between two dials, and that stayed as they were."""
    try:
        old, new = (_flat(recipe(*dials).to_dict()) for dials in (old, new))
    # No run has this size or length: the check of the field itself says why.
    except (flags.Error, ArithmeticError, TypeError, ValueError):
        return []
    kept = (name for name in old if name not in flag.override_values and now[name] == before[name])
    return sorted(n for n in kept if old[n] != new[n] and n not in _OF_NO_WEIGHT)


def _words(field: str, follow: list[str], instead: str) -> list[str]:
    if not follow:
        return []
    left = f"--config.{field} leaves {', '.join(follow)} as they were"
    return [f"{left}; --config={instead} sets them too"]


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{path}{name}.")
        else:
            out[f"{path}{name}"] = value
    return out
