"""What `python -m scaling.backtest` does with its flags."""

import dataclasses
from pathlib import Path
from typing import Any

from scaling.backtest.backtesting import Task, backtest, by_source, summary
from scaling.backtest.show import print_progress, print_tasks
from scaling.console import tables
from scaling.forecast.forecasting import check_law
from scaling.runs.table import matching
from train.cache import use_cache
from train.cli import InputError
from train.record import save_json


def run(given: Any) -> int:
    """Entry point: back-tests every table that --runs matches; 1 where any was refused.

    Each table's result is kept as it comes: --out is written anew after every one.
    """
    if not given.runs:
        raise InputError("--runs: not given; a CSV file, or a pattern such as 'tables/*.csv'")

    check_law(given.law)
    paths = matching(given.runs)
    if not paths:
        raise InputError(f"--runs: {given.runs!r} matches no file; a path or pattern of CSV files")

    use_cache()
    tasks: list[Task] = []
    for path in paths:
        tasks.append(_task(given, path))
        print_progress(tasks[-1], len(tasks), len(paths))
        if given.out:
            save_json(Path(given.out), _values(tasks))
    print_tasks(tasks)
    return int(any(task.refused for task in tasks))


def _task(given: Any, path: str) -> Task:
    """One table's back-test; a table that cannot be read is one that was refused."""
    name = Path(path).stem
    try:
        return backtest(name, tables.runs_of(given, path), given.law)
    except InputError as error:
        return Task(name, 0, 0, refused=str(error))


def _values(tasks: list[Task]) -> dict[str, Any]:
    each = [dataclasses.asdict(task) for task in tasks]
    return {"summary": summary(tasks), "sources": by_source(tasks), "tasks": each}
