"""THE LOOP: takes a state from step to step, and says when something is due.

It knows of no folder, record or name of a run: what is to be done then is its caller's (`Events`).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import jax

from train.config import RunConfig, evaluated_on
from train.devices import hosts
from train.step import Functions, Hyper, State


class Events(Protocol):
    """What happens at a step, in this order; `taken` counts the steps with it."""

    def stepping(self, first: bool) -> AbstractContextManager[None]:
        """Is entered while a step is given to the devices; the first one of a call compiles."""
        ...

    def stepped(self, taken: int, values: dict[str, jax.Array], first: bool) -> None:
        """It was given to them; its metrics come in time."""
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


def drive(
    config: RunConfig,
    functions: Functions,
    state: State,
    hyper: Hyper,
    feed: Callable[[int], dict[str, Any]],
    begun: int,
    events: Events,
) -> Driven:
    """Takes steps until the horizon, or until it is asked to stop.

    Args:
      config: says how many steps there are, and when what is due.
      functions: see `step.compile_for`.
      state: after `begun` steps; its buffers are given away.
      hyper: the step's inputs, on the devices.
      feed: gives the batch of a step, from 0, on the devices.
      begun: steps taken before.
      events: what happens at each step.
    """
    taken = begun
    # What goes to a device or comes from one in the loop is asked for: a slip is an error.
    with jax.transfer_guard("disallow"):
        for taken in range(begun + 1, config.steps + 1):
            batch, first = feed(taken - 1), taken == begun + 1
            # All but the first call only dispatch, ahead of the last one's results.
            with events.stepping(first):
                state, values = functions.train(state, batch, hyper)
                hosts.pace(values)
            events.stepped(taken, values, first)
            now = due(config, taken)
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


def _every(taken: int, every: int) -> bool:
    return every > 0 and taken % every == 0
