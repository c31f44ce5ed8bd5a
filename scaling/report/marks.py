"""What the figures of a study share: labels of axes, runs as points, colours by budget."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from scaling.report.drawing import Axis, Figure, Series
from scaling.report.files import Run, Study
from scaling.runs.numbers import count, number, scientific
from scaling.runs.numbers import loss as show_loss

COMPUTE = "C, training FLOPs"
SIZE = "N, parameters"
_LOSS = re.compile(r"(?<![\w/])[Ll]oss\b(?!/)")


def loss_label(study: Study) -> str:
    """What laws are fitted to, with its unit where that is the loss."""
    label = study.target.label
    return task_loss_label(study) if label == "loss" else label


def task_loss_label(study: Study) -> str:
    """The loss of the task and its unit; that of text is known to be in nats."""
    nats = "loss, nats" if study.unit in ("token", "byte") else "loss"
    return f"{nats} per {study.unit}"


def describe(run: Run) -> str:
    """A run for one who points at it."""
    lines = [run.name, f"N {count(run.N)}, D {count(run.D)} {run.unit}s, C {scientific(run.C)}"]
    if run.ok:
        lines.append(f"{run.target.label} {show_loss(run.loss)} ± {number(run.loss_se, 2)}")
    return "\n".join(lines)


def points(name: str, runs: Sequence[Run], x: str, y: str = "loss", **style) -> Series:
    """Runs as points; `x` and `y` are attributes of a run."""
    places = [getattr(run, x) for run in runs]
    heights = [getattr(run, y) for run in runs]
    return Series(name, places, heights, "points", hover=[describe(r) for r in runs], **style)


def fitted(study: Study) -> list[Run]:
    """The runs that laws may be fitted to."""
    return [run for run in study.role("fit") if run.ok]


def shades(values: Sequence[float]) -> list[float]:
    """Places on the ramp, even in the logarithm."""
    logs = np.log(np.asarray(values, np.float64))
    span = max(logs.max() - logs.min(), 1e-9)
    return [float((at - logs.min()) / span) for at in logs]


def named(words: str, study: Study) -> str:
    """The same words, with what laws are fitted to where they say "loss"."""
    label = study.target.label
    return words if label == "loss" else _LOSS.sub(lambda _: label, words)


def renamed(figure: Figure, study: Study) -> Figure:
    """The same figure in these words."""

    def axis(of: Axis) -> Axis:
        return dataclasses.replace(of, label=named(of.label, study))

    def told(hover: str | Sequence[str]) -> str | list[str]:
        whole = isinstance(hover, str)
        return named(hover, study) if whole else [named(one, study) for one in hover]

    series = [
        dataclasses.replace(one, name=named(one.name, study), hover=told(one.hover))
        for one in figure.series
    ]
    title = named(figure.title, study)
    return Figure(title, axis(figure.x), axis(figure.y), (*series,))
