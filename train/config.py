"""The typed, complete configuration of one run.

A file in `configs/` gives the values, this module the fields: there are no defaults here, so what
is logged is all there is. Model, data and task configs are dataclasses of their own modules, chosen
by `name`.
"""

import dataclasses
import functools
import json
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import data
import models
from train import duration, tasks
from train.cli import InputError, Unavailable, nearest, require
from train.identity import NOT_IDENTITY, canonical, differences, digest_of, of_now
from train.optimizer import Optimizer, Schedule

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A named module and its config, e.g. model gpt with `models.gpt.Config`."""

    name: str
    config: Any


@dataclasses.dataclass(frozen=True)
class Evaluation:
    every: int  # steps between evaluations on the validation set; 0 = at the end only
    batch_size: int
    # Standard error of the loss at which the rest of the set is left out, where means are all that
    # is wanted; 0 = none is.
    error: float

    def __post_init__(self):
        require(self.every >= 0, "every", self.every, "at least 0")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(self.error >= 0, "error", self.error, "at least 0")


@dataclasses.dataclass(frozen=True)
class Further(Evaluation):
    """A further set that a run is evaluated on; its metrics are "NAME/METRIC"."""

    data: Choice
    task: Choice


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    every: int  # steps between checkpoints; 0 = at the end only
    keep: int  # newest checkpoints kept
    best: int  # and those of the lowest validation loss: one is saved at every evaluation; 0 = none

    def __post_init__(self):
        require(self.every >= 0, "every", self.every, "at least 0")
        require(self.keep >= 1, "keep", self.keep, "at least 1")
        require(self.best >= 0, "best", self.best, "at least 0")


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Sizes of the device mesh. One of them may be -1: all devices that the others leave."""

    slice: int  # batch split, parameters copied, over the slow network: slices of a TPU pod
    data: int  # batch split, parameters copied
    fsdp: int  # batch and parameters split, parameters gathered when used
    tensor: int  # heads, hidden units and vocabulary split
    context: int  # sequences split
    expert: int  # batch and experts split
    stage: int  # layers split

    def __post_init__(self):
        for field, size in dataclasses.asdict(self).items():
            require(size >= 1 or size == -1, field, size, "at least 1, or -1 for the rest")
        require(list(dataclasses.asdict(self).values()).count(-1) <= 1, "data", -1, "one -1 only")


@dataclasses.dataclass(frozen=True)
class Start:
    """What of another run's checkpoint takes the place of what the seed gives; see train.start."""

    run: str  # that run's folder; "" = none
    step: int  # of its checkpoint; 0 = the newest
    take: tuple[str, ...]  # shell patterns over paths of the state: "params/*", "step"
    rename: tuple[str, ...]  # "ours=theirs", of beginnings of paths: "params/encoder=params/body"

    def __post_init__(self):
        require(self.step >= 0, "step", self.step, "at least 0")
        require(bool(self.take), "take", self.take, "patterns such as 'params/*'")
        for pair in self.rename:
            ours, _, theirs = pair.partition("=")
            require(bool(ours and theirs), "rename", pair, "as in 'params/encoder=params/body'")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    model: Choice
    data: Choice
    task: Choice
    optimizer: Optimizer
    schedule: Schedule
    evaluation: Evaluation
    checkpoint: Checkpoint
    mesh: Mesh
    start: Start
    evals: dict[str, Further] = dataclasses.field(hash=False)  # by name
    seed: int  # of parameters, data order and dropout; an input of the compiled step
    steps: int  # the horizon; an input of the compiled step
    batch_size: int  # examples a step
    accumulate: int  # parts of a batch that are computed one after the other, to save memory
    microbatches: int  # parts in which a batch goes through mesh.stage; 0 = as many as stages
    log_every: int  # steps between lines of metrics.jsonl

    def __post_init__(self):
        for field in ("steps", "batch_size", "accumulate", "log_every"):
            require(getattr(self, field) >= 1, field, getattr(self, field), "at least 1")
        # The step is counted in int32 on the device, where a wider one is not to be had.
        require(self.steps < 2**31, "steps", self.steps, "below 2^31")
        require(self.microbatches >= 0, "microbatches", self.microbatches, "at least 0")
        require(0 <= self.seed < 2**31, "seed", self.seed, "in [0, 2^31)")
        for name in self.evals:
            plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name)
            require(bool(plain), "evals", name, "names of letters, digits, _ and -")
        if self.checkpoint.best:
            require(
                self.evaluation.every >= 1, "evaluation.every", 0, "above 0 for checkpoint.best"
            )


_CHOICES = {"model": models, "data": data, "task": tasks}

# And what it may also change while it is under way: how often it is looked at decides no weight.
# These stay in the digest, which files of all versions hold.
MAY_CHANGE = (*NOT_IDENTITY, "evaluation", "evals", "log_every")

NO_START = Start(run="", step=0, take=("params/*",), rename=())


def resolve(values: Mapping[str, Any]) -> RunConfig:
    """Checks a nested mapping (a ConfigDict's `to_dict()`, a record's config) and types it.

    Raises:
      InputError: a missing, unknown or mistyped field, or a value that is not allowed.
    """
    return build(RunConfig, _with_durations(_with_facts(_completed(values))), "config")


def _completed(values: Any) -> Any:
    """A config with the fields that are newer than some records, see `identity.canonical`."""
    if not isinstance(values, Mapping) or "data" not in values:
        return values
    return of_now({"start": dataclasses.asdict(NO_START), "evals": {}, **values})


def _with_facts(values: Any) -> Any:
    """A model's field of 0 stands for what the data have of this name, such as `vocab_size`."""
    model = values.get("model") if isinstance(values, Mapping) else None
    if not isinstance(model, Mapping):
        return values
    open_fields = [name for name, value in model.items() if type(value) is int and value == 0]
    if not open_fields:
        return values
    held = _choose(data, values.get("data"), "config.data")
    facts = of_data(data.facts, held)
    filled = {name: facts[name] for name in open_fields if name in facts}
    for name in (name for name, value in filled.items() if value is None):
        known = f"data {held.name!r} must be opened to know it of this source"
        raise InputError(f"config.model.{name}: 0; give the number of {name}: {known}")
    return {**values, "model": {**model, **filled}}


def _with_durations(values: Any) -> Any:
    """A duration stands for a number of steps. The data are opened where nothing else tells it."""
    if not isinstance(values, Mapping):
        return values
    held = functools.cache(lambda: _choose(data, values.get("data"), "config.data"))
    known = functools.cache(lambda: of_data(data.facts, held()))
    there = functools.cache(lambda: opened(held()))
    return duration.plain(
        values, lambda name: getattr(there(), name) if known().get(name) is None else known()[name]
    )


def evaluated_on(config: RunConfig) -> dict[str, RunConfig]:
    """What a run is evaluated on, by name: "" is its own validation set, others are `evals`.

    Each as a config in which the set is the run's own.
    """
    alone = {"evals": {}, "accumulate": 1, "checkpoint": Checkpoint(every=0, keep=1, best=0)}
    return {"": config} | {
        name: dataclasses.replace(
            config,
            **alone,
            data=one.data,
            task=one.task,
            evaluation=Evaluation(one.every, one.batch_size, one.error),
        )
        for name, one in config.evals.items()
    }


def of_data(ask: Callable[[str, Any], T], chosen: Choice) -> T:
    """What `data.facts` or `data.spec` says of a run's data (InputError: its config is wrong)."""
    try:
        return ask(chosen.name, chosen.config)
    except ValueError as error:
        raise InputError(f"config.{error}") from error


def opened(chosen: Choice) -> data.Dataset:
    """A run's data. Raises Unavailable or InputError, see `before.open_data`."""
    try:
        return data.open_dataset(chosen.name, dataclasses.asdict(chosen.config))
    except OSError as error:
        raise Unavailable(f"config.data: {error}") from error
    except ValueError as error:
        raise InputError(f"config.data: {error}") from error


def to_dict(config: RunConfig) -> dict[str, Any]:
    """The inverse of `resolve`: plain nested dicts, ready for JSON."""
    out = json.loads(json.dumps(dataclasses.asdict(config)))  # a tuple is a list there
    for group in (out, *out["evals"].values()):
        for field in _CHOICES.keys() & group.keys():
            group[field] = {"name": group[field]["name"], **group[field]["config"]}
    return out


def identity(config: RunConfig) -> dict[str, Any]:
    """The part of a config that decides a run's numbers, and which of them it has."""
    return {k: v for k, v in to_dict(config).items() if k not in NOT_IDENTITY}


def digest(config: RunConfig) -> str:
    """sha256 of a run's identity, in hexadecimal."""
    return digest_of(identity(config))


def other_run(config: RunConfig, theirs: Mapping[str, Any]) -> list[str]:
    """Where `theirs`, a config read from JSON, is of another run than `config`; [] if it is not.

    What a run may change when it goes on (`MAY_CHANGE`) is passed over.
    """
    a, b = (
        {k: v for k, v in canonical(c).items() if k not in MAY_CHANGE}
        for c in (to_dict(config), theirs)
    )
    return differences(a, b)


def build(cls: type, values: Any, path: str) -> Any:
    """Builds dataclass `cls` from a mapping, checking names and types.

    Raises:
      InputError: a missing, unknown or mistyped field, or a value that is not allowed.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{path}: {values!r}; must be a group of fields")
    types = typing.get_type_hints(cls)
    unknown = [name for name in values if name not in types]
    if unknown:
        raise InputError(f"{path}.{unknown[0]}: no such field; {nearest(unknown[0], types)}")
    missing = [name for name in types if name not in values]
    if missing:
        raise InputError(f"{path}.{missing[0]}: missing")
    built = {}
    for name, kind in types.items():
        where, value = f"{path}.{name}", values[name]
        if kind is Choice:
            built[name] = _choose(_CHOICES[name], value, where)
        elif dataclasses.is_dataclass(kind):
            built[name] = build(kind, value, where)
        else:
            built[name] = _typed(value, kind, where)
    try:
        return cls(**built)
    except ValueError as error:
        raise InputError(f"{path}.{error}") from error


def _choose(package: Any, values: Any, path: str) -> Choice:
    if not isinstance(values, Mapping) or "name" not in values:
        raise InputError(f"{path}.name: missing")
    name = values["name"]
    if name not in package.names():
        raise InputError(f"{path}.name: {name!r}; {nearest(name, package.names())}")
    fields = {k: v for k, v in values.items() if k != "name"}
    return Choice(name, build(package.load(name).Config, fields, path))


def _typed(value: Any, kind: Any, path: str) -> Any:
    """Checks a leaf. An int may stand for a float, and a list for a tuple (JSON has no tuples)."""
    if kind is float and type(value) is int:
        value = float(value)
    if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        (element, *_) = typing.get_args(kind)
        if dataclasses.is_dataclass(element):
            return tuple(build(element, v, f"{path}[{i}]") for i, v in enumerate(value))
        return tuple(_typed(v, element, f"{path}[{i}]") for i, v in enumerate(value))
    if typing.get_origin(kind) is dict and isinstance(value, Mapping):
        element = typing.get_args(kind)[1]
        if dataclasses.is_dataclass(element):
            return {str(k): build(element, v, f"{path}.{k}") for k, v in value.items()}
        return {str(k): _typed(v, element, f"{path}.{k}") for k, v in value.items()}
    if type(value) is not kind:
        raise InputError(f"{path}: {value!r}; must be {getattr(kind, '__name__', kind)}")
    if kind is float and not (value == value and abs(value) != float("inf")):
        raise InputError(f"{path}: {value!r}; must be finite")
    return value
