"""What `python -m train.examine` prints."""

import math

from rich.console import Console
from rich.table import Table

from train.examine.again import Evaluated, Verdict
from train.examine.slices import Mean, Slice


def show_metrics(found: Evaluated, verdict: Verdict) -> None:
    """Prints the metrics, and whether they are those that the run found."""
    rows = int((found.units > 0).sum())
    print(f"step {found.step} of {found.config.steps}, {rows} rows")
    for name, (value, error) in found.metrics.items():
        known = "" if error is None else f" +- {error:.4g}"
        print(f"  {name} {value:.6g}{known}")
    if not verdict.compared:
        print("  the run has not been evaluated at this step: nothing to hold it against")
    elif verdict.differing:
        then = ", ".join(f"{name} {value:.6g}" for name, value in verdict.differing.items())
        print(f"  not what the run found: {then}")
    elif verdict.apart:
        print(f"  what the run found, but for rounding: at most {verdict.apart:.1g} of a value")
    else:
        print("  what the run found, to the bit")


def show_slices(key: str, parts: list[Slice]) -> None:
    """Prints a table of the parts, and what its p stands for."""
    names = list(parts[0].means)
    table = Table(key, "rows", box=None, title_justify="left")
    for name in names:
        table.add_column(name)
        table.add_column("p")
    for part in parts:
        means = (part.means[name] for name in names)
        table.add_row(part.name, str(part.rows), *(cell for m in means for cell in _cells(m)))
    Console().print(table)
    print(
        "[ ] 95%, Wilson; +- standard error; p: that as many rows drawn at random are so far from "
        f"the rest, corrected for {len(parts)} x {len(names)} by Holm"
    )


def _cells(mean: Mean) -> tuple[str, str]:
    if mean.interval:
        low, high = mean.interval
        value = f"{mean.value:.3f} \\[{low:.3f}, {high:.3f}]"
    else:
        known = f" +- {mean.error:.2g}" if math.isfinite(mean.error) else ""
        value = f"{mean.value:.4g}{known}"
    return value, "-" if math.isnan(mean.p) else f"{mean.p:.2g}"
