"""Columns of the curve laws from learning-rate schedules: what a step's past has done for it.

One training logged at steps s_1 < s_2 < .. with learning rates eta_i and losses. Between logged
steps the rate is taken as constant at the earlier one's value, so log often where it changes.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from scaling.runs import LOGGED
from scaling.runs.table import NO_C, matching, read_csv, validate
from train.cli import InputError, nearest

MAX_KNOTS = 32


def read_curves(
    pattern: str, loss: str = "loss", warmup: float = 0.0, decay: float = 0.999
) -> pd.DataFrame:
    """Reads logged curves from CSV files and adds the columns of the curve laws.

    Args:
      pattern: one CSV file, or a pattern for several. Columns step, lr and the loss, one row a
        logged step, and `schedule`, a label, where one file holds several trainings; without it
        each file is one schedule of its own name.
      loss: column with the loss.
      warmup, decay: see `annealing_columns`.

    Raises:
      InputError: with file, column and line of what is wrong.
    """
    paths = matching(pattern) or [pattern]
    parts, notes = [], []
    for path in paths:
        rows = read_csv(path, ("step", "lr", loss))
        for name in ("step", "lr", loss):
            if name not in rows.columns:
                raise InputError(
                    f"--runs: {path} has no column {name!r}; laws of schedules read "
                    f"{', '.join(LOGGED)}, one row a logged step; {nearest(name, rows.columns)}"
                )
        if "schedule" not in rows.columns:
            rows["schedule"] = Path(path).stem
        if rows["schedule"].isna().any():
            line = rows.index[rows["schedule"].isna()][0] + 2
            raise InputError(f"{path}: column 'schedule', line {line}: nothing; a label")
        rows["loss"] = rows[loss]
        rows.attrs["columns"] = {"loss": loss}
        rows = validate(rows, ("step", "lr", "loss"), nonnegative=("step",))
        notes += rows.attrs["notes"]
        parts.append(rows)
    curves = annealing_columns(pd.concat(parts, ignore_index=True), warmup, decay)
    curves.attrs = {"source": pattern, "notes": notes, "c_convention": NO_C}
    return curves


def annealing_columns(
    curves: pd.DataFrame, warmup: float = 0.0, decay: float = 0.999, knots: int = MAX_KNOTS
) -> pd.DataFrame:
    """Adds the columns of the laws 'annealing' and 'multi_power' to logged curves.

    Args:
      curves: columns schedule (a label), step, lr, loss, one row a logged step.
      warmup: steps of linear warm-up before the first logged step.
      decay: lambda of Tissue et al. 2024: how long a drop in learning rate is remembered.
      knots: most drops of one schedule; more are merged, neighbours first.

    Returns:
      The rows sorted by schedule and step, with S1 (sum of lr up to the step), S2 (annealing area
      of Tissue et al. 2024), and vectors of `knots` cells: drop (fall of the rate at each earlier
      knot), after (the rate after it, over the first rate) and rest (sum of lr since it).
    """
    for name in LOGGED:
        if name not in curves.columns:
            raise InputError(f"curves: no column {name!r}; needed: {', '.join(LOGGED)}")
    if curves.empty:
        raise InputError("curves: no rows; one row a logged step")
    if not 0 < decay < 1:
        raise InputError(f"--decay: {decay!r}; between 0 and 1")
    if not 0 <= warmup <= curves["step"].min():
        raise InputError(
            f"--warmup: {warmup!r}; from 0 to the first logged step, {curves['step'].min():g}"
        )
    parts = [
        _one(rows.sort_values("step"), warmup, decay, knots)
        for _, rows in curves.groupby("schedule", sort=True)
    ]
    return pd.concat(parts, ignore_index=True)


def _one(rows: pd.DataFrame, warmup: float, decay: float, knots: int) -> pd.DataFrame:
    step, rate = rows["step"].to_numpy(np.float64), rows["lr"].to_numpy(np.float64)
    if np.any(np.diff(step) <= 0):
        raise InputError(f"curves: schedule {rows['schedule'].iloc[0]!r} logs a step twice")
    if not np.all(np.isfinite(rate) & (rate > 0)):
        raise InputError(f"curves: schedule {rows['schedule'].iloc[0]!r}: lr must be positive")
    # The rate over (s_{i-1}, s_i] is the mean of both ends; before s_1 it was warm-up, then flat.
    gap = np.diff(step)
    area = np.concatenate([[rate[0] * (step[0] - warmup / 2)], gap * (rate[:-1] + rate[1:]) / 2])
    S1 = np.cumsum(area)
    fall = np.concatenate([[0.0], rate[:-1] - rate[1:]])
    # S2(s) = sum_i m_i with m_i = decay m_{i-1} + fall_i at every step; a drop spread evenly over
    # a gap leaves sum_{j <= s - k} decay^j behind from each of its steps.
    late = step[:, None] - (step - np.concatenate([[0.0], gap]) / 2)[None, :]
    memory = np.where(step[:, None] >= step[None, :], 1 - decay ** np.maximum(late + 1, 0), 0.0)
    S2 = np.maximum(memory @ fall / (1 - decay), 0.0)
    places = np.flatnonzero(fall != 0)
    groups = np.array_split(places, min(knots, len(places))) if len(places) else []
    drop, rest = np.zeros((len(step), knots)), np.zeros((len(step), knots))
    after = np.ones((len(step), knots))
    middle = S1 - area / 2  # a drop happens half-way through its gap
    for k, group in enumerate(groups):
        passed = group[None, :] <= np.arange(len(step))[:, None]
        drop[:, k] = passed @ fall[group]
        since = np.maximum(S1[:, None] - middle[group][None, :], 0.0) * passed
        rest[:, k] = since.sum(axis=1) / np.maximum(passed.sum(axis=1), 1)
        after[:, k] = rate[group].mean() / rate[0]
    result = rows.assign(S1=S1, S2=S2)
    for name, values in (("drop", drop), ("after", after), ("rest", rest)):
        result[name] = list(values)
    return result
