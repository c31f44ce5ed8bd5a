"""Where a run begins: at what its seed gives, or with what another run has learnt in its place.

Fine-tuning takes another run's parameters; a decay branch of a trunk takes all of its state, the
step too, and goes on from there. What is taken is named by paths, such as

    step   params/head/kernel   extra/batch_stats/norm/mean   opt_state/1/0/mu/head/kernel

An earlier call's checkpoint goes before: the other run is read once, before the first step, and a
run that has saved a checkpoint of its own does without it.
"""

import dataclasses
import fnmatch
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from train import checkpoint, metrics, record, strict
from train.cli import InputError, Unavailable, nearest
from train.config import RunConfig, Start
from train.devices import hosts, sharding
from train.identity import digest_of
from train.step import State

_TOLD = 3  # of what does not agree


def first_step(config: Start, begun: Mapping[str, Any] | None = None) -> int:
    """The step that a run begins at: 0, or that of the other run where it is taken.

    Args:
      config: of the run.
      begun: what it began with, see `read`; None before that is known.

    Raises:
      Unavailable: the other run has no such checkpoint.
    """
    if not (config.run and any(fnmatch.fnmatchcase("step", p) for p in config.take)):
        return 0
    return begun["step"] if begun else _step(config)


def pinned(config: Start) -> Start:
    """The same with the newest step named, where the newest is meant. Raises as `first_step`."""
    return dataclasses.replace(config, step=_step(config)) if config.run else config


def read(
    config: RunConfig, begun: Mapping[str, Any], abstract: State
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Reads what a run takes of another one. All processes call this.

    Args:
      config: of the run.
      begun: what it began with in an earlier call, as returned; {} if there was none.
      abstract: shapes and shardings of its state.

    Returns:
      arrays by path, and what they are: the other `run`, its `step` and `config_sha256`, the
      `sha256` of all that was taken, its N, D and C up to there (None where older versions saved
      it), and its `metrics` there, {} if it was not evaluated. Nothing where no run is named.

    Raises:
      Unavailable: there is no such checkpoint, or it is no longer the one that the run began with.
      InputError: it is damaged, or does not agree with the state.
    """
    if not config.start.run:
        return {}, {}
    origin = hosts.first(lambda: _origin(config.start, begun))
    folder = _workdir(config.start) / "checkpoints" / str(origin["step"])
    ours = _by_path(abstract)
    theirs = hosts.together(lambda: _Saved(folder / "state"))
    pairs = hosts.together(lambda: _agreed(config.start, theirs, ours))
    like = {there: ours[here].sharding for here, there in pairs.items()}
    arrays = theirs.read(like, abstract.step.sharding.mesh)
    taken: dict[str, jax.Array] = {}
    for here, there in pairs.items():
        array = arrays.pop(there, None)
        if array is None:  # taken twice; a step gives up the memory of each
            twin = next(taken[other] for other in taken if pairs[other] == there)
            array = jax.device_put(twin, ours[here].sharding, may_alias=False)
        taken[here] = array
    origin["sha256"] = _sha256(taken)
    if begun and origin["sha256"] != begun["sha256"]:
        raise Unavailable(
            f"config.start: {folder} has changed since this run began: sha256 "
            f"{origin['sha256'][:12]}, not {begun['sha256'][:12]}; give a new workdir"
        )
    if "step" in taken and int(taken["step"]) >= config.steps:
        raise InputError(
            f"config.steps: {config.steps}; above {int(taken['step'])}, the step that config.start "
            "goes on from"
        )
    return taken, origin


def graft(state: State, taken: Mapping[str, jax.Array]) -> State:
    """A state with the arrays that were taken in place of its own."""
    return jax.tree.map_with_path(lambda path, own: taken.get(_name(path), own), state)


def _workdir(config: Start) -> Path:
    return Path(config.run).expanduser().absolute()  # Orbax reads no others


def _step(config: Start) -> int:
    """The step that is meant. Raises Unavailable where it is not there."""
    there = checkpoint.saved_steps(_workdir(config))
    if not there:
        raise Unavailable(f"config.start.run: {config.run!r}; it has no checkpoint")
    if config.step and config.step not in there:
        steps = ", ".join(map(str, there))
        raise Unavailable(f"config.start.step: {config.step}; {config.run} has {steps}")
    return config.step or there[-1]


def _origin(config: Start, begun: Mapping[str, Any]) -> dict[str, Any]:
    """What lies beside the state that is meant; the one that the run began with, if it did."""
    if begun:
        config = Start(**{**vars(config), "step": begun["step"]})
    step, workdir = _step(config), _workdir(config)
    folder = workdir / "checkpoints" / str(step)
    theirs = record.load_json(folder / "config" / "metadata")
    path = folder / "run" / "metadata"
    # Version 1 had no such file, and some of version 2 no account.
    run = {"account": {}} | (record.load_json(path) if path.exists() else {})
    strict.check(f"{path}: ", run, {"account": dict})
    origin = {
        "run": config.run,
        "step": step,
        "config_sha256": digest_of(theirs),
        **{name: run["account"].get(name) for name in "NDC"},
        "metrics": metrics.evaluated_at(workdir, step),
    }
    strict.check(f"{folder}: ", origin, {k: v for k, v in record.START.items() if k in origin})
    return origin


class _Saved:
    """What a checkpoint holds: shapes and types by path, in the order in which they were saved."""

    def __init__(self, folder: Path):
        """Raises Unreadable."""
        self.folder = folder
        with checkpoint.readable(folder):
            self._tree = ocp.StandardCheckpointHandler().metadata(folder).tree
            arrays = _by_path(self._tree)
        # The tree's order is not the state's, of which its digest is a function.
        self.arrays = {name: arrays[name] for name in checkpoint.paths(folder) if name in arrays}

    def read(
        self, like: Mapping[str, jax.sharding.Sharding], mesh: jax.sharding.Mesh
    ) -> dict[str, jax.Array]:
        """The arrays, those in `like` sharded so, the others spread. Raises Unreadable."""

        def target(path: Any, array: Any) -> jax.ShapeDtypeStruct:
            where = like.get(_name(path)) or sharding.spread(array.shape, mesh)
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=where)

        tree = jax.tree.map_with_path(target, self._tree)
        found = _by_path(checkpoint.read(self.folder, tree))
        state = [found[name] for name in self.arrays if name.startswith(checkpoint.STATE)]
        if int(checkpoint.digest(state)) != int(found["digest"]):
            raise checkpoint.Unreadable(f"{self.folder}: its numbers are not those that were saved")
        return found


def _agreed(config: Start, saved: _Saved, ours: Mapping[str, Any]) -> dict[str, str]:
    """Which of our paths are read from which of a checkpoint's.

    Raises InputError where a pattern takes nothing, or something that is not there or not alike.
    """
    # A model may keep nothing, so a pattern for all of a collection is never in vain.
    known = [*ours, *(f"{collection}/*" for collection in State._fields)]
    for pattern in config.take:
        if not fnmatch.filter(known, pattern):
            folders = {name.rpartition("/")[0] for name in ours if "/" in name}
            near = nearest(pattern, {"step", *(f"{folder}/*" for folder in folders)})
            raise InputError(f"config.start.take: {pattern!r} takes nothing; {near}")
    names = [n for n in ours if any(fnmatch.fnmatchcase(n, p) for p in config.take)]
    pairs = {name: checkpoint.STATE + _renamed(config, name) for name in names}
    if not pairs:
        raise InputError(f"config.start.take: {config.take}; all of it takes nothing")
    wrong = [
        f"{here} is {kind}, and {other} there"
        for here, there in pairs.items()
        if (kind := _kind(ours[here])) != (other := _kind(saved.arrays.get(there)))
    ]
    if wrong:
        more = f"; and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        raise InputError(f"config.start: {saved.folder}: {'; '.join(wrong[:_TOLD])}{more}")
    return pairs


def _renamed(config: Start, name: str) -> str:
    """The path of the other run for one of ours."""
    for ours, theirs in (pair.split("=", 1) for pair in config.rename):
        if name == ours or name.startswith(f"{ours}/"):
            return theirs + name.removeprefix(ours)
    return name


def _kind(array: Any) -> str:
    return f"{np.dtype(array.dtype)} {list(array.shape)}" if array is not None else "not"


def _sha256(arrays: Mapping[str, jax.Array]) -> str:
    """Of names, types, shapes and numbers; the same on every mesh."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name} {_kind(arrays[name])}\n".encode())
        total.update(hosts.whole(arrays[name]).tobytes())
    return total.hexdigest()


def _by_path(tree: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
