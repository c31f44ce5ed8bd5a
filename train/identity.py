"""Which run a config is, of the plain values that a record holds.

No field of a model, a task or an optimizer is known here, so that tables of records are read
without any of them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import data
import models

# What a run may change and still be the same run: where and in how many parts it is computed, and
# how often it is saved.
NOT_IDENTITY = ("checkpoint", "mesh", "accumulate", "microbatches")

# Fields newer than some records, with what changes nothing. Models and data have their own.
NEWER = {"optimizer": {"groups": ()}, "evaluation": {"error": 0.0}}


def digest_of(values: Mapping[str, Any]) -> str:
    """sha256 of what decides a run's numbers, whichever fields configs had when it was made."""
    kept = {k: v for k, v in canonical(values).items() if k not in NOT_IDENTITY}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def differences(a: Mapping[str, Any], b: Mapping[str, Any], path: str = "config") -> list[str]:
    """Where two nested dicts differ, as "config.model.width: 64, not 128" lines."""
    out = []
    for key in sorted({*a, *b}):
        x, y = a.get(key), b.get(key)
        if isinstance(x, Mapping) and isinstance(y, Mapping):
            out += differences(x, y, f"{path}.{key}")
        elif x != y:
            out.append(f"{path}.{key}: {x!r}, not {y!r}")
    return out


def canonical(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the fields that are newer than some records, where they change nothing.

    So runs of older versions keep their digests, and go on.
    """

    def less(newer: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        # What is empty, a tuple or in a record a list, is the same.
        return {
            name: value
            for name, value in chosen.items()
            if name not in newer or (value != newer[name] and (value or newer[name]))
        }

    out = _changed(values, less)
    start = out.get("start")
    if isinstance(start, Mapping) and not start.get("run", True):
        del out["start"]
    if not out.get("evals", True):
        del out["evals"]
    return out


def of_now(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config with the newer fields of its groups."""
    return _changed(values, lambda newer, chosen: {**newer, **chosen})


Change = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]


def _changed(values: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """A config, each of its groups changed by what is newer in it, and so its further sets."""
    out = _of_set(values, change)
    for group, newer in NEWER.items():
        if isinstance(out.get(group), Mapping):
            out[group] = change(newer, out[group])
    if isinstance(evals := out.get("evals"), Mapping):
        # A further set has the fields of an evaluation beside its own.
        out["evals"] = {
            name: change(NEWER["evaluation"], _of_set(one, change))
            if isinstance(one, Mapping)
            else one
            for name, one in evals.items()
        }
    return out


def _of_set(group: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """The same of a model and data alone."""
    known = {
        field: change(package.newer(group[field].get("name")), group[field])
        for field, package in (("model", models), ("data", data))
        if isinstance(group.get(field), Mapping)
    }
    return {**group, **known}
