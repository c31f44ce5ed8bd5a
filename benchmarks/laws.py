"""Laws on tasks of ScaleBench: R2 on rows held out, beside the published bars.

    python -m benchmarks.laws --folder=scalebench

The folder holds the tasks' tables as CSV (PlanarG/active-sl on GitHub, data CC-BY-4.0), one file a
task, with a column `split` of fit and heldout. A task is fitted by its law; where rows are N, D and
loss alone, the default forecast of `scaling.forecast` is scored as well. Mixtures are fitted for
every size and domain apart, and R2 is the mean over domains, each of all sizes. Nothing is tuned
here.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from absl import flags

from train.cli import InputError, define_path, run_main


@dataclass(frozen=True)
class Task:
    """A task: our law, R2 as published for all its rows, and the file's columns.

    Attributes:
      losses: columns with a loss each, fitted one by one.
      apart: a column whose values are fitted one by one, too.
    """

    law: str
    published: float
    columns: dict[str, str] = field(default_factory=dict)
    losses: tuple[str, ...] = ("loss",)
    apart: str = ""


TASKS = {
    "farseer": Task("coupled", 0.91),
    "data_constrained": Task(
        "data_constrained", 0.79, {"N": "params", "D": "tokens", "U": "unique_tokens"}
    ),
    "moe": Task(
        "experts",
        0.81,
        {"N": "dense_parameter_count", "experts": "num_experts"},
        ("loss_validation",),
    ),
    "domain_mixture": Task(
        "mixture5",
        0.81,
        {f"r{i}": f"proportion_domain_{i}" for i in range(1, 5)},
        tuple(f"loss_domain_{i}" for i in range(1, 6)),
        "group",
    ),
}


def scores(path: Path, task: Task) -> dict[str, tuple[int, float]]:
    """Rows of a fit and R2 on the held-out ones, by the law and by the default forecast."""
    from scaling.fit.fitting import fit
    from scaling.forecast.forecasting import forecast
    from scaling.laws import LAWS
    from scaling.runs.table import fit_rows, heldout_rows, read_csv

    names = {task.columns.get(column, column): column for column in LAWS[task.law].columns}
    raw = read_csv(str(path), numeric=(*names, *task.losses))
    raw = raw.astype(dict.fromkeys((*names, *task.losses), float)).rename(columns=names)
    parts = [part for _, part in raw.groupby(task.apart)] if task.apart else [raw]
    found: dict[str, list[float]] = {}
    for loss in task.losses:
        made, true = {}, []
        for part in parts:
            runs = part[[*names.values(), "split"]].assign(loss=part[loss])
            known, held = fit_rows(runs), heldout_rows(runs)
            law = fit(known, task.law, bootstrap=0)
            values = law.predict(**{name: held[name] for name in law.law.columns})
            made.setdefault(task.law, []).append(values)
            if set(law.law.columns) == {"N", "D"}:
                made.setdefault("default forecast", []).append(forecast(known, held).median)
            true.append(held["loss"])
        for way, values in made.items():
            found.setdefault(way, []).append(_r2(np.concatenate(values), np.concatenate(true)))
    return {way: (len(known), float(np.mean(values))) for way, values in found.items()}


def _r2(values: np.ndarray, true: np.ndarray) -> float:
    return 1 - ((values - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()


def main() -> None:
    """Prints a row a task and way."""
    from scaling.console.printed import console, show, table

    folder = flags.FLAGS.folder
    if not folder:
        raise InputError("--folder: not given; the folder of ScaleBench's tables")
    shown = table("R2 on held-out rows", "task", "by", "rows fitted", "ours", "published")
    for name, task in TASKS.items():
        path = Path(folder) / f"{name}.csv"
        if not path.exists():
            shown.add_row(name, "not there", "", "", f"{task.published:.2f}")
            continue
        for way, (rows, score) in scores(path, task).items():
            shown.add_row(name, way, str(rows), f"{score:.3f}", f"{task.published:.2f}")
    show(console(), shown)


if __name__ == "__main__":
    define_path("folder", None, "Folder of CSV files, one a task.")
    run_main(main)
