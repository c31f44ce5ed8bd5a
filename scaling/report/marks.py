"""What the figures of a study share: labels of axes, runs as points, colours by budget."""

from collections.abc import Sequence

import numpy as np

from scaling.report.drawing import Series
from scaling.report.files import Run, Study
from scaling.runs.numbers import count, number, scientific
from scaling.runs.numbers import loss as show_loss

COMPUTE = "C, training FLOPs"
SIZE = "N, parameters"


def loss_label(study: Study) -> str:
    """The loss and its unit; that of text is known to be in nats."""
    nats = "loss, nats" if study.unit in ("token", "byte") else "loss"
    return f"{nats} per {study.unit}"


def describe(run: Run) -> str:
    """A run for one who points at it."""
    lines = [run.name, f"N {count(run.N)}, D {count(run.D)} {run.unit}s, C {scientific(run.C)}"]
    if run.ok:
        lines.append(f"loss {show_loss(run.record.loss)} ± {number(run.record.loss_se, 2)}")
    return "\n".join(lines)


def points(name: str, runs: Sequence[Run], x: str, y: str = "loss", **style) -> Series:
    """Runs as points; `x` and `y` are attributes of a run, or its loss."""
    places = [getattr(run, x) for run in runs]
    heights = [run.record.loss if y == "loss" else getattr(run, y) for run in runs]
    return Series(name, places, heights, "points", hover=[describe(r) for r in runs], **style)


def fitted(study: Study) -> list[Run]:
    """The runs that laws may be fitted to."""
    return [run for run in study.role("fit") if run.ok]


def shades(values: Sequence[float]) -> list[float]:
    """Places on the ramp, even in the logarithm."""
    logs = np.log(np.asarray(values, np.float64))
    span = max(logs.max() - logs.min(), 1e-9)
    return [float((at - logs.min()) / span) for at in logs]
