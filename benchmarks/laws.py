"""Laws on tasks of ScaleBench: R2 on rows held out, beside the published bars.

    python -m benchmarks.laws --folder=scalebench

The folder holds the tasks' tables as CSV (PlanarG/active-sl on GitHub, data CC-BY-4.0), one file a
task, with a column `split` of fit and heldout. A task is fitted by its law; where rows are N, D and
loss alone, the default forecast of `scaling.forecast` is scored as well. Nothing is tuned here.
"""

from dataclasses import dataclass, field
from pathlib import Path

from absl import flags

from train.cli import InputError, define_path, run_main


@dataclass(frozen=True)
class Task:
    """A task: our law and objective, the file's columns, and R2 as published for all its rows."""

    law: str
    published: float
    columns: dict[str, str] = field(default_factory=dict)
    loss: str = "loss"


TASKS = {
    "farseer": Task("coupled", 0.91),
    "data_constrained": Task(
        "data_constrained", 0.79, {"N": "params", "D": "tokens", "U": "unique_tokens"}
    ),
    "moe": Task(
        "experts",
        0.81,
        {"N": "dense_parameter_count", "experts": "num_experts"},
        "loss_validation",
    ),
}


def scores(path: Path, task: Task) -> dict[str, tuple[int, float]]:
    """Rows fitted and R2 on the held-out ones, by the law and by the default forecast."""
    from scaling.fit.fitting import fit
    from scaling.forecast.forecasting import forecast
    from scaling.laws import LAWS
    from scaling.runs.table import fit_rows, heldout_rows, read_csv

    names = {column: task.columns.get(column, column) for column in LAWS[task.law].columns}
    names |= {"loss": task.loss}
    raw = read_csv(str(path), numeric=names.values())
    runs = raw[[*names.values(), "split"]].rename(columns={v: k for k, v in names.items()})
    runs = runs.astype(dict.fromkeys(names, float))
    known, held = fit_rows(runs), heldout_rows(runs)
    law = fit(known, task.law, bootstrap=0)
    made = {task.law: law.predict(**{name: held[name] for name in law.law.columns})}
    if set(law.law.columns) == {"N", "D"}:
        made["default forecast"] = forecast(known, held).median
    loss = held["loss"].to_numpy()
    spread = ((loss - loss.mean()) ** 2).sum()
    return {
        way: (len(known), float(1 - ((values - loss) ** 2).sum() / spread))
        for way, values in made.items()
    }


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
