"""The laws of all families side by side, from what each left of its study.

    python -m benchmarks.families

Reads benchmarks/results/families/NAME/: runs.csv, and as far as they are there law.json,
forecast.json and score.json as a study writes them, and family.json, which says what those do not:

    family, data, unit, command, machine, note    texts; the unit is what D counts
    target     the metric that laws are fitted to
    seconds                                       wall time of the whole study
    metrics    what a user asks of such a model, the main one first: name, better ("more" or
               "less"), value and its error (or null), bar and baseline (or null) and where each is
               from: bar_source, baseline_source

Writes families.png and families.md beside that folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from absl import flags

from scaling.fit import fitted
from scaling.fit.fitted import Fit
from scaling.forecast import scoring, sealing
from scaling.report.drawing import GREY, ORANGE, VERMILION, Axis, Figure, Series
from scaling.report.drawing_files import to_sheet
from scaling.report.frontier import advise, frontier
from scaling.report.marks import COMPUTE
from scaling.runs.numbers import NONE, duration, number, percent
from scaling.runs.numbers import loss as show_loss
from scaling.runs.table import fit_rows, read_runs
from train.cli import InputError, define_path, run_main
from train.record import load_json, save_text
from train.strict import check

_METRIC = {
    **dict.fromkeys(("name", "better", "bar_source", "baseline_source"), str),
    "value": float,
    **dict.fromkeys(("error", "bar", "baseline"), (float, None)),
}
_FAMILY = {
    **dict.fromkeys(("family", "data", "unit", "target", "machine", "command", "note"), str),
    "seconds": float,
    "metrics": [_METRIC],
}
COLUMNS = (
    *("family", "data", "unit", "α, of N", "β, of D", "forecast (90%)", "outcome", "error"),
    *("metric", "bar", "baseline", "wall time"),
)


@dataclass(frozen=True)
class Family:
    """What is known of a family; None for a file that is not there.

    Attributes:
      said: family.json. runs: its table of runs.
      forecast: of its largest held-out run, as the seal has it. score: how that came out.
    """

    said: dict[str, Any]
    runs: pd.DataFrame
    fit: Fit | None
    forecast: dict[str, Any] | None
    score: dict[str, Any] | None


def read(folder: Path) -> Family:
    """Reads a family's folder. Raises InputError naming the file and the field that is wrong."""
    path = folder / "family.json"
    said = load_json(path)
    check(f"{path}: ", said, _FAMILY)
    if unknown := said.keys() - _FAMILY.keys():
        raise InputError(f"{path}: {min(unknown)}: no such field")
    for place, metric in enumerate(said["metrics"]):
        if metric["better"] not in ("more", "less"):
            given = metric["better"]
            raise InputError(f"{path}: metrics[{place}].better: {given!r}; allowed: more, less")
    there = {name: folder / f"{name}.json" for name in ("law", "forecast", "score")}
    there = {name: path for name, path in there.items() if path.exists()}
    sealed = sealing.load(there["forecast"]) if "forecast" in there else {}
    forecast = max(sealed.get("targets", ()), key=lambda target: target["C"], default=None)
    scores = scoring.load(there["score"])[0] if "score" in there else {}
    return Family(
        said,
        read_runs(str(folder / "runs.csv"), split="role"),
        fitted.load(str(there["law"])) if "law" in there else None,
        forecast,
        scores.get(forecast["run"]) if forecast else None,
    )


def row(family: Family) -> list[str]:
    """A family's cells, in the order of `COLUMNS`."""
    said, forecast, score = family.said, family.forecast, family.score
    cells = [said["family"], said["data"], said["unit"]]
    cells += [_exponent(family.fit, name) for name in ("alpha", "beta")]
    if forecast is None:
        cells += [NONE, NONE, NONE]
    else:
        low, high = forecast["interval90"]
        ends = f"{show_loss(low)} to {show_loss(high)}"
        cells.append(f"{said['target']} {show_loss(forecast['median'])} ({ends})")
        if score is None or score["loss"] is None:
            cells += [NONE, NONE]
        else:
            inside = "inside" if score["inside90"] else "outside"
            cells += [show_loss(score["loss"]), f"{percent(score['error'])}, {inside}"]
    lines = [_against(metric) for metric in said["metrics"]]
    cells += ["<br>".join(column) or NONE for column in zip(*lines)] if lines else [NONE] * 3
    return [*cells, duration(said["seconds"])]


def _exponent(fit: Fit | None, name: str) -> str:
    """An exponent with its interval. Where a law has one for N and D both, it stands for both."""
    if fit is None:
        return NONE
    name = name if name in fit.params else "alpha"
    if name not in fit.params:
        return NONE
    ends = " to ".join(number(end, 2) for end in fit.intervals[name])
    doubt = ", not identified" if name in fit.diagnostics.flat else ""
    return f"{number(fit.params[name], 2)} ({ends}{doubt})"


def _against(metric: dict[str, Any]) -> tuple[str, str, str]:
    """A metric, and what it is to reach and to beat, in words."""
    value = f"{metric['name']} {number(metric['value'], 3)}"
    value += "" if metric["error"] is None else f" ± {number(metric['error'], 1)}"
    cells = []
    for kind, words in (("bar", ("met", "missed")), ("baseline", ("beaten", "not beaten"))):
        other = metric[kind]
        if other is None:
            cells.append(NONE)
            continue
        ahead = metric["value"] - other if metric["better"] == "more" else other - metric["value"]
        done = ahead >= 0 if kind == "bar" else ahead > 0
        source = f" ({metric[f'{kind}_source']})" if metric[f"{kind}_source"] else ""
        cells.append(f"{number(other, 3)}{source}: {words[0] if done else words[1]}")
    return (value, *cells)


def table(families: list[Family]) -> str:
    """All of them, as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for family in families:
        cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in row(family))
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- {f.said['family']}: {f.said['note']}" for f in families if f.said["note"]]
    commands = [
        f"- {f.said['family']}: `{f.said['command']}`, on {f.said['machine']}" for f in families
    ]
    return "\n".join([*lines, "", *notes, *([""] if notes else []), *commands]) + "\n"


def figure(family: Family) -> Figure:
    """A family's runs, the best that its law expects along compute, the forecast, the outcome."""
    known, forecast, score = fit_rows(family.runs), family.forecast, family.score
    C, loss = known["C"].to_numpy(), known["loss"].to_numpy()
    end = max(C.max(), forecast["C"] if forecast else 0.0)
    advice = advise(family.fit, C.min(), end, C.max()) if family.fit else None
    series = frontier(advice) if advice else []
    series.append(Series("runs fitted", C, loss, "points", colour=GREY, faint=True))
    if forecast:
        low, high = forecast["interval90"]
        diamond = {"kind": "points", "marker": "diamond", "colour": ORANGE}
        place = {"x": [forecast["C"]], "y": [forecast["median"]], "y_low": [low], "y_high": [high]}
        series.append(Series("sealed forecast, 90% interval", **place, **diamond))
    if forecast and score and score["loss"] is not None:
        star = {"kind": "points", "marker": "star", "colour": VERMILION}
        series.append(Series("outcome", [forecast["C"]], [score["loss"]], **star))
    label = (
        f"loss per {family.said['unit']}"
        if family.said["target"] == "loss"
        else family.said["target"]
    )
    title = f"{family.said['family']} on {family.said['data']}"
    return Figure(title, Axis(COMPUTE, True), Axis(label, True), (*series,))


def main() -> None:
    """Writes the figure and the table, and prints where."""
    folder = Path(flags.FLAGS.folder)
    families = [read(path.parent) for path in sorted(folder.glob("*/family.json"))]
    if not families:
        raise InputError(f"--folder: {str(folder)!r} holds no NAME/family.json")
    text = table(families)
    save_text(folder.parent / "families.md", text)
    to_sheet([figure(family) for family in families], folder.parent / "families.png")
    print(text)
    print(folder.parent / "families.png")


if __name__ == "__main__":
    define_path("folder", "benchmarks/results/families", "Folder of the families' folders.")
    run_main(main)
