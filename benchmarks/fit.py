"""Time of a law's fit from 256 starts, alone and with bootstrap refits.

    python -m benchmarks.fit [--runs=my.csv] [--refits=4000]

Without a CSV the runs are 240 drawn from Besiroglu et al. 2024 with 1% noise, as many as they had.
"""

import statistics
import time

from absl import flags

from train.cli import define_path, run_main


def seconds(call, repeats: int) -> tuple[float, float]:
    """Seconds of the first call, which compiles, and the median of `repeats` later ones."""
    times = []
    for _ in range(1 + repeats):
        begin = time.monotonic()
        call()
        times.append(time.monotonic() - begin)
    return times[0], statistics.median(times[1:])


def synthetic(count: int = 240):
    """A table of runs around the published law."""
    import numpy as np
    import pandas as pd

    from scaling.fit.ready import published

    rng = np.random.default_rng(0)
    C = 10 ** rng.uniform(18, 22, count)
    N = np.sqrt(C / 120) * np.exp(0.8 * rng.standard_normal(count))
    D = C / (6 * N)
    loss = published("besiroglu2024").predict(N=N, D=D) * np.exp(0.01 * rng.standard_normal(count))
    return pd.DataFrame({"N": N, "D": D, "C": C, "loss": loss})


def main() -> None:
    """Prints the table."""
    from rich.console import Console
    from rich.table import Table

    from scaling.fit.fitting import fit
    from scaling.runs.table import read_runs

    runs = read_runs(flags.FLAGS.runs) if flags.FLAGS.runs else synthetic()
    refits = flags.FLAGS.refits
    table = Table("of one law (chinchilla)", "first call s", "warm s")
    for words, bootstrap in (("fit, 256 starts", 0), (f"the same and {refits:,} refits", refits)):
        first, warm = seconds(lambda bootstrap=bootstrap: fit(runs, bootstrap=bootstrap), 3)
        table.add_row(words, f"{first:.2f}", f"{warm:.2f}")
    Console().print(f"{len(runs)} runs")
    Console().print(table)


if __name__ == "__main__":
    define_path("runs", None, "CSV of runs with columns N, D, loss.")
    flags.DEFINE_integer("refits", 4000, "Bootstrap refits.", 1)
    run_main(main)
