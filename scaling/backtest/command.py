"""What `python -m scaling.backtest` does with its flags."""

import dataclasses
from pathlib import Path
from typing import Any

from scaling.backtest.backtesting import backtest, summary
from scaling.backtest.show import print_tasks
from scaling.console import tables
from scaling.forecast.forecasting import check_law
from scaling.runs.table import matching
from train.cache import use_cache
from train.cli import InputError
from train.record import save_json


def run(given: Any) -> None:
    """Entry point: back-tests every table that --runs matches."""
    if not given.runs:
        raise InputError("--runs: not given; a CSV file, or a pattern such as 'tables/*.csv'")

    check_law(given.law)
    paths = matching(given.runs)
    if not paths:
        raise InputError(f"--runs: {given.runs!r} matches no file; a path or pattern of CSV files")

    use_cache()
    tasks = []
    for path in paths:
        tasks.append(backtest(Path(path).stem, tables.runs_of(given, path), given.law))
    print_tasks(tasks)
    if given.out:
        values = {"summary": summary(tasks), "tasks": [dataclasses.asdict(task) for task in tasks]}
        save_json(Path(given.out), values)
