"""Optimizers and schedules whose strength is an input of the compiled step.

`build` is called inside the traced step with the run's own (traced) learning rate and decay, so the
optimizer's state has no copy of them and runs that differ only there share one executable.
"""

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.core import meta

from models.layers.weights import ROLES
from train.cli import nearest, require

Scalar = jax.Array | float

_REST = "rest"  # parameters of no group
_BY_ROLE = tuple(f"role:{role}" for role in ROLES)


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that are trained in their own way. Each belongs to the first group that it
    matches, or to none."""

    # Shell pattern over the path of a parameter, as "critic/*", or its role, as "role:hidden".
    match: str
    rate: float  # factor of the learning rate; 0 = frozen, and nothing is kept for it
    decay: float  # factor of the weight decay
    every: int  # steps from one update to the next

    def __post_init__(self):
        require(self.match != "", "match", self.match, "a pattern such as 'head/*'")
        for field in ("rate", "decay"):
            require(getattr(self, field) >= 0, field, getattr(self, field), "at least 0")
        require(self.every >= 1, "every", self.every, "at least 1")
        if self.match.startswith("role:"):
            known = any(fnmatch.fnmatchcase(name, self.match) for name in _BY_ROLE)
            require(known, "match", self.match, nearest(self.match, _BY_ROLE))

    def takes(self, path: str, role: str | None) -> bool:
        """Whether it matches a parameter; `role` as of models.layers.weights, None of none."""
        names = (path,) if role is None else (path, f"role:{role}")
        return any(fnmatch.fnmatchcase(name, self.match) for name in names)


@dataclasses.dataclass(frozen=True)
class Optimizer:
    name: str  # see OPTIMIZERS
    learning_rate: float  # peak; an input of the compiled step
    weight_decay: float  # a step takes rate x decay of a weight; an input of the compiled step
    b1: float  # decay of the first moment; sgd: momentum
    b2: float  # decay of the second moment; unused by sgd
    eps: float
    # Global norm of the gradient of what is trained, of each player's alone; 0 = no clipping.
    clip_norm: float
    groups: tuple[Group, ...]

    def __post_init__(self):
        require(self.name in OPTIMIZERS, "name", self.name, nearest(self.name, OPTIMIZERS))
        for field in ("learning_rate", "weight_decay", "clip_norm"):
            require(getattr(self, field) >= 0, field, getattr(self, field), "at least 0")
        for field in ("b1", "b2"):
            require(0 <= getattr(self, field) < 1, field, getattr(self, field), "in [0, 1)")


@dataclasses.dataclass(frozen=True)
class Schedule:
    name: str  # see SCHEDULES
    warmup: float  # linear warm-up, as a fraction of the run
    cooldown: float  # wsd: linear decay at the end, as a fraction of the run
    final: float  # last learning rate, as a fraction of the peak

    def __post_init__(self):
        require(self.name in SCHEDULES, "name", self.name, nearest(self.name, SCHEDULES))
        for field in ("warmup", "cooldown", "final"):
            require(0 <= getattr(self, field) <= 1, field, getattr(self, field), "in [0, 1]")
        require(self.warmup + self.cooldown <= 1, "warmup", self.warmup, "at most 1 - cooldown")


def cosine(config: Schedule, t: jax.Array) -> jax.Array:
    """Half a cosine from the end of warm-up to the end of the run (Loshchilov and Hutter 2017)."""
    x = jnp.clip((t - config.warmup) / max(1 - config.warmup, 1e-9), 0, 1)
    return config.final + (1 - config.final) * 0.5 * (1 + jnp.cos(jnp.pi * x))


def wsd(config: Schedule, t: jax.Array) -> jax.Array:
    """Warmup-stable-decay: constant, then linear over the last `cooldown` (Hu et al. 2024)."""
    x = jnp.clip((t - 1 + config.cooldown) / max(config.cooldown, 1e-9), 0, 1)
    return 1 - (1 - config.final) * x


def constant(config: Schedule, t: jax.Array) -> jax.Array:
    """No decay after warm-up."""
    return jnp.ones_like(t)


SCHEDULES: dict[str, Callable[[Schedule, jax.Array], jax.Array]] = {
    "cosine": cosine,
    "wsd": wsd,
    "constant": constant,
}


def learning_rate(config: Schedule, step: Scalar, steps: Scalar, peak: Scalar) -> jax.Array:
    """The learning rate of step `step` (from 0) of `steps`: linear warm-up times the schedule's
    decay.

    Warm-up ends at the first step that is at least `warmup` of the run; the decay reaches `final`
    one step after the last, as no step should be wasted at a rate of zero.
    """
    step, steps = jnp.asarray(step, jnp.float32), jnp.asarray(steps, jnp.float32)
    ramp = jnp.minimum(1.0, (step + 1) / jnp.maximum(config.warmup * steps, 1.0))
    return peak * ramp * SCHEDULES[config.name](config, step / steps)


def _adam(config: Optimizer) -> optax.GradientTransformation:
    return optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)


def _sgd(config: Optimizer) -> optax.GradientTransformation:
    return optax.trace(decay=config.b1) if config.b1 else optax.identity()


OPTIMIZERS: dict[str, Callable[[Optimizer], optax.GradientTransformation]] = {
    "adamw": _adam,
    "sgd": _sgd,
}


def _decayed(params: optax.Params) -> optax.Params:
    """Weight decay is for weights: norms' scales and biases are left alone."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: getattr(path[-1], "key", "") not in ("scale", "bias"), params
    )


def build(
    config: Optimizer,
    rate: Scalar,
    weight_decay: Scalar,
    players: Sequence[str] = (),
    roles: Mapping[str, str] = MappingProxyType({}),
    step: Scalar = 0,
) -> optax.GradientTransformation:
    """Clipping, the optimizer's own direction, decoupled weight decay, times `-rate`.

    Args:
      config: of the run.
      rate: learning rate of the step.
      weight_decay: of the run.
      players: top names of parameters whose gradients are clipped apart; none: all together.
      roles: see `roles_of`; for groups that match by role.
      step: of the run, for groups that wait.
    """
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    if players:
        clip = optax.partition(dict.fromkeys(players, clip), _by_player)
    if not config.groups:
        return optax.chain(clip, *_direction(config, rate, weight_decay))
    by_group = {
        str(number): _group(config, group, rate, weight_decay, step)
        for number, group in enumerate(config.groups)
    }
    by_group[_REST] = optax.chain(*_direction(config, rate, weight_decay))
    labels = functools.partial(_labels, config, roles)
    return optax.chain(_still(config, labels, step), clip, optax.partition(by_group, labels))


def _direction(config: Optimizer, rate: Scalar, decay: Scalar) -> tuple:
    return (
        OPTIMIZERS[config.name](config),
        optax.add_decayed_weights(decay, mask=_decayed),
        optax.scale(-rate),
    )


def _group(
    config: Optimizer, group: Group, rate: Scalar, decay: Scalar, step: Scalar
) -> optax.GradientTransformation:
    if group.rate == 0:
        return optax.set_to_zero()
    own = optax.chain(*_direction(config, rate * group.rate, decay * group.decay))
    return own if group.every == 1 else optax.conditionally_mask(own, lambda _: _moves(group, step))


def _by_player(params: optax.Params) -> optax.Params:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key, params)


def check(config: Optimizer, params: Any) -> None:
    """Raises ValueError where a group has no parameters; `params` as of `roles_of`."""
    roles = roles_of(params)
    labels = jax.tree_util.tree_leaves_with_path(_labels(config, roles, params))
    found = {_path(path): label for path, label in labels}
    for number, group in enumerate(config.groups):
        field = f"groups[{number}].match"
        matched = [label for path, label in found.items() if group.takes(path, roles.get(path))]
        require(bool(matched), field, group.match, "no such parameters")
        require(str(number) in matched, field, group.match, "earlier groups take all of them")


def roles_of(params: Any) -> dict[str, str]:
    """The role of each parameter that has one, by its path.

    Args:
      params: a model's, in the boxes that they are declared in (models.layers.weights).
    """
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=meta.is_axis_metadata)
    return {_path(path): box.role for path, box in leaves if hasattr(box, "role")}


def _moves(group: Group, step: Scalar) -> jax.Array | bool:
    """Whether a step changes a group's parameters."""
    return group.rate > 0 and step % group.every == 0


def _still(
    config: Optimizer, labels: Callable[[optax.Params], optax.Params], step: Scalar
) -> optax.GradientTransformation:
    """The gradient of what a step holds still is 0: it does not clip that of what is trained."""
    groups = {str(number): group for number, group in enumerate(config.groups)}
    may = {label for label, group in groups.items() if group.rate == 0 or group.every > 1}

    def moving(label: str, gradient: jax.Array) -> jax.Array:
        return jnp.where(_moves(groups[label], step), gradient, 0.0)

    zeros = optax.stateless(lambda grads, _: jax.tree.map(moving, labels(grads), grads))
    return optax.masked(zeros, lambda grads: jax.tree.map(lambda x: x in may, labels(grads)))


def _labels(config: Optimizer, roles: Mapping[str, str], params: optax.Params) -> optax.Params:
    """The number of each parameter's group, as text."""

    def label(path, _) -> str:
        name = _path(path)
        numbers = (n for n, group in enumerate(config.groups) if group.takes(name, roles.get(name)))
        return str(next(numbers, _REST))

    return jax.tree_util.tree_map_with_path(label, params)


def _path(keys: Sequence[Any]) -> str:
    """Of a parameter. The box that it may lie in is no part of it."""
    return "/".join(key.key for key in keys if hasattr(key, "key"))
