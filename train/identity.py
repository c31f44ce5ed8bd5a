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
    out = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    for group, newer in (("optimizer", "groups"), ("evaluation", "error")):
        if isinstance(out.get(group), dict) and not out[group].get(newer, True):
            del out[group][newer]
    start = out.get("start")
    if isinstance(start, dict) and not start.get("run", True):
        del out["start"]
    out = _as_before(out)
    if isinstance(evals := out.get("evals"), Mapping):
        out["evals"] = {name: _as_before(_of_all(one)) for name, one in evals.items()}
    if not out.get("evals", True):
        del out["evals"]
    return out


def of_now(group: Any) -> Any:
    """A config, or that of a further set, with the newer fields of its model and data."""
    return _changed(group, lambda newer, chosen: {**newer, **chosen})


def _as_before(group: Any) -> Any:
    """The same without those that change nothing."""

    def less(newer: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in chosen.items() if k not in newer or v != newer[k]}

    return _changed(group, less)


def _of_all(one: Any) -> Any:
    """The config of a further set, without the error at which to stop where there is none."""
    if isinstance(one, Mapping) and not one.get("error", True):
        return {name: value for name, value in one.items() if name != "error"}
    return one


def _changed(group: Any, change: Callable[[dict[str, Any], Any], dict[str, Any]]) -> Any:
    if not isinstance(group, Mapping):
        return group
    known = {
        field: change(package.newer(group[field].get("name")), group[field])
        for field, package in (("model", models), ("data", data))
        if isinstance(group.get(field), Mapping)
    }
    return {**group, **known}
