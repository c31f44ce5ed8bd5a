"""Optimizers and schedules whose strength is an input of the compiled step.

`build` is called inside the traced step with the run's own (traced) learning rate and decay, so the
optimizer's state has no copy of them and runs that differ only there share one executable.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from train.cli import nearest, require

Scalar = jax.Array | float

_REST = "rest"  # parameters of no group


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that are trained in their own way. Each belongs to the first group that it
    matches, or to none."""

    match: str  # shell pattern over the path of a parameter, e.g. "critic/*"
    rate: float  # factor of the learning rate; 0 = frozen, and nothing is kept for it
    decay: float  # factor of the weight decay
    every: int  # steps from one update to the next

    def __post_init__(self):
        require(self.match != "", "match", self.match, "a pattern such as 'head/*'")
        for field in ("rate", "decay"):
            require(getattr(self, field) >= 0, field, getattr(self, field), "at least 0")
        require(self.every >= 1, "every", self.every, "at least 1")


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
    config: Optimizer, rate: Scalar, weight_decay: Scalar, players: Sequence[str] = ()
) -> optax.GradientTransformation:
    """Clipping, the optimizer's own direction, decoupled weight decay, times `-rate`.

    Args:
      config: of the run.
      rate: learning rate of the step.
      weight_decay: of the run.
      players: top names of parameters whose gradients are clipped apart; none: all together.
    """
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    if players:
        clip = optax.partition(dict.fromkeys(players, clip), _by_player)
    if not config.groups:
        return optax.chain(clip, *_direction(config, rate, weight_decay))
    by_group = {
        str(number): _group(config, group, rate, weight_decay)
        for number, group in enumerate(config.groups)
    }
    by_group[_REST] = optax.chain(*_direction(config, rate, weight_decay))
    # The gradient of what is held still does not clip that of what is trained.
    still = optax.masked(optax.set_to_zero(), lambda params: _frozen(config, params))
    grouped = optax.partition(by_group, lambda params: _labels(config, params))
    return optax.chain(still, clip, grouped)


def _direction(config: Optimizer, rate: Scalar, decay: Scalar) -> tuple:
    return (
        OPTIMIZERS[config.name](config),
        optax.add_decayed_weights(decay, mask=_decayed),
        optax.scale(-rate),
    )


def _group(
    config: Optimizer, group: Group, rate: Scalar, decay: Scalar
) -> optax.GradientTransformation:
    if group.rate == 0:
        return optax.set_to_zero()
    own = optax.chain(*_direction(config, rate * group.rate, decay * group.decay))
    return (
        own
        if group.every == 1
        else optax.conditionally_mask(own, lambda step: step % group.every == 0)
    )


def _by_player(params: optax.Params) -> optax.Params:
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key, params)


def check(config: Optimizer, params: optax.Params) -> None:
    """Raises ValueError where a group has no parameters."""
    found = set(jax.tree.leaves(_labels(config, params)))
    for number, group in enumerate(config.groups):
        require(str(number) in found, f"groups[{number}].match", group.match, "no such parameters")


def _frozen(config: Optimizer, params: optax.Params) -> optax.Params:
    """Whether each parameter is."""
    frozen = {str(number) for number, group in enumerate(config.groups) if group.rate == 0}
    return jax.tree.map(lambda label: label in frozen, _labels(config, params))


def _labels(config: Optimizer, params: optax.Params) -> optax.Params:
    """The number of each parameter's group, as text. A box with names of axes is no part of a
    path."""

    def label(path, _) -> str:
        name = "/".join(key.key for key in path if hasattr(key, "key"))
        numbers = (n for n, g in enumerate(config.groups) if fnmatch.fnmatchcase(name, g.match))
        return str(next(numbers, _REST))

    return jax.tree_util.tree_map_with_path(label, params)
