"""Prints how a study came out."""

from pathlib import Path

from scaling.fit import fitted, isoflop
from scaling.fit.show import print_fit
from scaling.forecast import show
from scaling.runs.table import read_runs


def print_study(workdir: Path) -> None:
    """Prints the laws and how the forecast came out."""
    runs = read_runs(str(workdir / "runs.csv"), split="role")
    minima = isoflop.load(str(workdir / "isoflop.json"))
    print_fit(fitted.load(str(workdir / "law.json")), runs, minima=minima)
    if (workdir / "forecast.json").exists():
        show.print_study(workdir)
