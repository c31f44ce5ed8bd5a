"""THE LOOP: takes a state from step to step, and says when something is due.

It knows of no folder, record or name of a run: what is to be done then is its caller's (`Events`).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import jax

from train.config import RunConfig, evaluated_on
from train.devices import hosts
from train.step import State

_MOST = 32  # steps in one call
_FLOPS = 3e8  # of matrix products in one call: tens of milliseconds of one core


class Events(Protocol):
    """What happens at steps, in this order; `taken` counts the steps with them."""

    def stepping(self, first: bool) -> AbstractContextManager[None]:
        """Is entered while steps are given to the devices; the first time that compiles."""
        ...

    def stepped(self, taken: int, values: dict[str, jax.Array], first: bool) -> None:
        """They were given to them; the metrics of the last one come in time."""
        ...

    def log(self, taken: int, values: dict[str, jax.Array]) -> None:
        """These metrics are to be logged."""
        ...

    def evaluate(self, state: State, names: tuple[str, ...]) -> Any:
        """These sets are due, by their names in `config.evaluated_on`."""
        ...

    def stop(self, taken: int) -> bool:
        """Whether this step is to be the last one of this call."""
        ...

    def save(self, taken: int, state: State, found: Any) -> None:
        """The state is to be saved; `found` is what `evaluate` gave at this step, or None."""
        ...

    def passed(self) -> None:
        """All that was due is done."""
        ...


class Due(NamedTuple):
    """What is due after a step."""

    log: bool
    evaluate: tuple[str, ...]
    save: bool


class Driven(NamedTuple):
    """How a drive has ended."""

    state: State
    taken: int  # steps
    stopped: bool  # because it was asked to, be it after the last step


def due(config: RunConfig, taken: int) -> Due:
    """What is due once so many steps of a run are taken.

    The last state is on disk before it is evaluated, which may take long: that is left to whoever
    has saved it.
    """
    last = taken == config.steps
    evaluate = tuple(
        name for name, on in evaluated_on(config).items() if _every(taken, on.evaluation.every)
    )
    best = config.checkpoint.best and "" in evaluate
    return Due(
        log=_every(taken, config.log_every) or taken == 1 or last,
        evaluate=() if last else evaluate,
        save=_every(taken, config.checkpoint.every) or bool(best) or last,
    )


def at_once(config: RunConfig, flops: float) -> int:
    """How many steps at most are worth one call, where a call may take many: 1 if none is saved.

    What a call costs beside its steps is a millisecond or so; while one lasts, no signal is heard.

    Args:
      config: says when something is due, at which a call ends.
      flops: of the matrix products of a step.
    """
    often = [config.log_every, config.checkpoint.every, config.steps]
    often += [on.evaluation.every for on in evaluated_on(config).values()]
    return max(1, min(_MOST, int(_FLOPS // flops), *filter(None, often)))


def drive(
    config: RunConfig,
    take: Callable[[State, Any, int], tuple[State, dict[str, jax.Array]]],
    feed: Callable[[int, int], Any],
    state: State,
    begun: int,
    most: int,
    events: Events,
) -> Driven:
    """Takes steps until the horizon, or until it is asked to stop.

    Args:
      config: says how many steps there are, and when what is due.
      take: takes so many steps on what `feed` gave for them; gives the state, whose buffers before
        are given away, and the metrics of the last one.
      feed: gives the batches of the steps from one, counted from 0, up to another, on the devices.
      state: after `begun` steps.
      begun: steps taken before.
      most: steps to take at once, where nothing is due between.
      events: what happens at steps.
    """
    taken = begun
    # What goes to a device or comes from one in the loop is asked for: a slip is an error.
    with jax.transfer_guard("disallow"):
        while taken < config.steps:
            before, first = taken, taken == begun
            taken, now = _next(config, before, most)
            batches = feed(before, taken)
            # All but the first call only dispatch, ahead of the last one's results.
            with events.stepping(first):
                state, values = take(state, batches, taken - before)
                hosts.pace(values)
            events.stepped(taken, values, first)
            if now.log:
                events.log(taken, values)
            found = events.evaluate(state, now.evaluate) if now.evaluate else None
            stop = events.stop(taken)
            if now.save or stop:
                events.save(taken, state, found)
            events.passed()
            if stop:
                return Driven(state, taken, True)
    return Driven(state, taken, False)


def _next(config: RunConfig, taken: int, most: int) -> tuple[int, Due]:
    """The next step after which something is due, or `most` steps have been taken."""
    for until in range(taken + 1, taken + most):
        if any(now := due(config, until)):
            return until, now
    return taken + most, due(config, taken + most)


def _every(taken: int, every: int) -> bool:
    return every > 0 and taken % every == 0
