"""Process start to first step, with an empty compilation cache and with a warm one.

    python -m benchmarks.startup [--repeats=3]

Runs `python -m train` for one step in a new process, caches in a temporary folder. What is not
compiling is Python, imports, opening the data, evaluating, and the checkpoint.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import flags

from train.cli import run_main

_ROOT = Path(__file__).parent.parent


def start(workdir: Path, cache: Path) -> tuple[float, float]:
    """Seconds of a one-step run: the whole process, and its compilation."""
    from train import record

    command = [sys.executable, "-m", "train", "--config=configs/gpt.py", f"--workdir={workdir}"]
    command += ["--config.steps=1", "--config.data.eval_tokens=1024"]
    begin = time.monotonic()
    subprocess.run(
        command,
        cwd=_ROOT,
        env=os.environ | {"ALLOMETRY_CACHE": str(cache)},
        check=True,
        capture_output=True,
    )
    total = time.monotonic() - begin
    return total, record.load(workdir / "record.json").seconds["compile"]


def main() -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    rows: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(flags.FLAGS.repeats):
            for kind, seconds in rows.items():
                seconds.append(start(Path(name, f"{kind}{repeat}"), Path(name, f"cache{repeat}")))
    table = Table("cache", "process s", "of it compiling s")
    for kind, seconds in rows.items():
        total, compiling = (statistics.median(column) for column in zip(*seconds))
        table.add_row(kind, f"{total:.1f}", f"{compiling:.1f}")
    Console().print(table)


if __name__ == "__main__":
    flags.DEFINE_integer("repeats", 3, "Pairs of runs; medians are shown.", 1)
    run_main(main)
