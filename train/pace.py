"""How fast a run goes: units a second, the share of the devices' peak, and the time that is left.

All of it comes from the clocks of the run and from what it fetches anyway: no device waits for it.
"""

import dataclasses
import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence

import jax

from train import peaks
from train.account import Account
from train.config import RunConfig, evaluated_on

_WINDOW = 20  # lines of metrics; what is shown is the mean over them


@dataclasses.dataclass(frozen=True)
class Speed:
    """What a person is shown."""

    unit: str  # what is counted
    per_second: float  # such units trained on; NaN before it is known
    mfu: float | None  # None where the peak of the devices is not known
    seconds_left: float  # wall time until the run has its record; NaN before it is known


class Pace:
    """The pace of one call of a run.

    MFU is the model FLOPs utilisation of Chowdhery et al. 2022 (PaLM, appendix B): the FLOPs of the
    model's matrix products forward and backward, C.forward of the record, over what the devices
    could do at their bfloat16 peak. What is computed twice to save memory does not count.
    """

    def __init__(
        self,
        config: RunConfig,
        account: Account,
        eval_rows: Mapping[str, int],
        used: Sequence[jax.Device],
    ):
        """Makes the pace of a run that has not taken a step in this call.

        Args:
          config: of the run.
          account: its facts.
          eval_rows: of what it is evaluated on, by the names of `config.evaluated_on`.
          used: the devices that it is computed on, all of one kind.
        """
        self._config, self._unit = config, account.unit
        peak = peaks.peak(used[0].device_kind)
        self._peak = None if peak is None else peak * len(used)
        self._units = account.D / config.steps
        self._flops = account.C["forward"] / config.steps
        # By the steps between two: rows of the sets that are evaluated then, and what is saved.
        self._evaluations = [
            (on.evaluation.every, eval_rows[name]) for name, on in evaluated_on(config).items()
        ]
        self._saves = [(config.checkpoint.every, 1)]
        self._under_way: list[tuple[int, jax.Array]] = []
        # Steps done, and the seconds of training that they took.
        self._known: deque[tuple[int, float]] = deque(maxlen=_WINDOW + 1)

    def begin(self, done: int, seconds: Mapping[str, float]) -> None:
        """Takes the time once the first step of this call, which was compiled, is done.

        Args:
          done: steps that the devices have taken.
          seconds: spent so far, by the names of a record.
        """
        self._known.append((done, _training(seconds)))

    def under_way(self, step: int, loss: jax.Array) -> None:
        """Notes that a step was given to the devices, and an output that says when it is done."""
        self._under_way.append((step, loss))

    def rates(self, seconds: Mapping[str, float]) -> dict[str, float]:
        """Units a second, named by the unit, and MFU, since the last call that said so.

        They are of training alone: compiling, evaluating and saving take no time here.
        """
        done = max((step for step, loss in self._under_way if loss.is_ready()), default=0)
        self._under_way = [(step, loss) for step, loss in self._under_way if step > done]
        before, now = self._known[-1], (done, _training(seconds))
        if not (done > before[0] and now[1] > before[1]):
            return {}
        self._known.append(now)
        a_second = 1 / _step_seconds(before, now)
        return {f"{self._unit}s_per_second": self._units * a_second} | (
            {"mfu": self._flops * a_second / self._peak} if self._peak else {}
        )

    def speed(self, taken: int, seconds: Mapping[str, float]) -> Speed:
        """The pace of the last lines, and what it makes of the steps that are left.

        Args:
          taken: steps.
          seconds: spent so far, by the names of a record.
        """
        if len(self._known) < 2:
            return Speed(self._unit, math.nan, None, math.nan)
        step = _step_seconds(self._known[0], self._known[-1])
        left = step * (self._config.steps - taken)
        for kind, often, guess in (
            # Until one has been timed: a forward pass is a third of a training step.
            ("evaluate", self._evaluations, step / self._config.batch_size / 3),
            ("checkpoint", self._saves, 0.0),
        ):
            # One of each is at the end in any case.
            earlier = min(taken, self._config.steps - 1)
            before = sum(earlier // every * size for every, size in often if every)
            in_all = sum(
                ((self._config.steps - 1) // every + 1 if every else 1) * size
                for every, size in often
            )
            left += (in_all - before) * (seconds.get(kind, 0.0) / before if before else guess)
        mfu = self._flops / step / self._peak if self._peak else None
        return Speed(self._unit, self._units / step, mfu, left)


def typical(lines: Sequence[Mapping[str, float]], unit: str) -> dict[str, float | None]:
    """`throughput` and `mfu` of a record, medians over the lines of its metrics."""
    names = {"throughput": f"{unit}s_per_second", "mfu": "mfu"}
    found = {field: [x[name] for x in lines if name in x] for field, name in names.items()}
    return {field: statistics.median(x) if x else None for field, x in found.items()}


def _training(seconds: Mapping[str, float]) -> float:
    return seconds["train"] + seconds.get("log", 0.0)


def _step_seconds(a: tuple[int, float], b: tuple[int, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
