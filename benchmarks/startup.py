"""Process start to first step, with an empty compilation cache and with a warm one; laws likewise.

    python -m benchmarks.startup [--repeats=3] [--verbs]

Runs `python -m train` for one step in a new process, caches in a temporary folder. What is not
compiling is Python, imports, opening the data, evaluating, and the checkpoint.

With --verbs instead the CPU seconds of verbs of laws on 240 runs, their programs in the cache, in
turns where Python keeps the bytecode of what it imports and where it may not
(PYTHONDONTWRITEBYTECODE) or nobody did: then it compiles all sources anew at each start.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import flags

from train.cli import InputError, run_main

_ROOT = Path(__file__).parent.parent
_VERBS = (
    "scaling.fit --runs=RUNS",
    "scaling.forecast --runs=RUNS --N=7e9 --D=1.4e11",
    "scaling.fit --law=list",
    "scaling.fit --help",
)


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


def cpu(verb: str, runs: Path, setting: dict[str, str]) -> float:
    """CPU seconds of a verb's process, its threads included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", *verb.replace("RUNS", str(runs)).split()]
    ended = subprocess.run(command, cwd=_ROOT, env=clean | setting, capture_output=True)
    if ended.returncode > ("--help" in verb):  # which ends with 1
        raise InputError(f"{verb}: {ended.stderr.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def verbs(repeats: int) -> None:
    """Prints the table of verbs."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.fit import synthetic

    table = Table("CPU s, median of later starts", "bytecode kept", "not kept")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = [
            {"ALLOMETRY_CACHE": name, "PYTHONPYCACHEPREFIX": str(folder / "kept")},
            # A prefix where nothing is: there may be bytecode beside the sources.
            {
                "ALLOMETRY_CACHE": name,
                "PYTHONPYCACHEPREFIX": str(folder / "none"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        ]
        synthetic().to_csv(folder / "runs.csv", index=False)
        for verb in _VERBS:
            cpu(verb, folder / "runs.csv", settings[0])  # compiles
            found = [
                [cpu(verb, folder / "runs.csv", setting) for setting in settings]
                for _ in range(repeats)
            ]
            table.add_row(verb, *(f"{statistics.median(column):.2f}" for column in zip(*found)))
    Console().print(table)


def main() -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    if flags.FLAGS.verbs:
        return verbs(flags.FLAGS.repeats)
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
    flags.DEFINE_bool("verbs", False, "Starts of the verbs of laws instead.")
    run_main(main)
