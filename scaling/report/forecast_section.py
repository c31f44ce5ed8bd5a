"""The sealed forecast of a report: whether its seal holds, how it came out, what each law says."""

from scaling.forecast import sealing
from scaling.report import page
from scaling.report.files import Score, Study, Target
from scaling.report.page import Cell
from scaling.runs.numbers import NONE, count, duration, loss, percent, scientific
from scaling.runs.plans import run_folder


def main_target(study: Study) -> Target | None:
    """The largest run that is forecast, by C."""
    targets = study.forecast.targets if study.forecast else ()
    return max(targets, key=lambda target: target.C) if targets else None


def score_of(study: Study, run: str) -> Score | None:
    """A run's score, once there is one."""
    return next((score for score in study.scores or () if score.run == run), None)


def sealed(study: Study) -> str:
    """The forecast's section; "" where nothing is sealed."""
    forecast = study.forecast
    if forecast is None:
        return ""
    rows = []
    for target in forecast.targets:
        score = score_of(study, target.run)
        outcome = score.loss if score else None
        intervals = [
            f"{loss(low)} – {loss(high)}" for low, high in (target.interval50, target.interval90)
        ]
        rows.append(
            [
                target.run,
                *(Cell(shown, 0.0) for shown in (count(target.N), count(target.D))),
                Cell(scientific(target.C), 0.0),
                Cell(loss(target.median), 0.0),
                *(Cell(interval, 0.0) for interval in intervals),
                Cell(NONE if outcome is None else loss(outcome), 0.0),
                Cell(percent(score.error) if score and score.error is not None else NONE, 0.0),
            ]
        )
    columns = ("run", "N", "D", "C", "forecast", "50%", "90%", "outcome", "error")
    foreign = study.scores is not None and study.scored_sha256 != forecast.sha256
    seal, broken = _seal(study)
    return page.section(
        "The forecast",
        page.paragraph(f"Law: {forecast.law}. {seal}"),
        page.notes(broken),
        page.notes(forecast.reasons, "reason"),
        page.notes(forecast.warnings),
        page.notes(["score.json is of another forecast than forecast.json"] if foreign else []),
        page.table(columns, rows),
        _laws_tried(study),
    )


def _seal(study: Study) -> tuple[str, list[str]]:
    """What can be said for the seal, and what against it: its digest and the order of events."""
    forecast = study.forecast
    held = [(run.name, run.record.started) for run in study.role("heldout") if run.record]
    broken = []
    if not forecast.intact:
        broken.append(
            "the seal is broken: forecast.json was changed after it was sealed, its content does "
            "not have the sha256 it states"
        )
    sealed, gaps, knew = sealing.read_moment(forecast.created), [], []
    for name, started in held:
        began = sealing.read_moment(started)
        known = sealing.seal_of(run_folder(study.folder, name))
        if known and known != forecast.sha256:
            broken.append(f"{name} started under another seal: {known[:16]}")
        elif known:
            knew.append(name)
        elif sealed is None or began is None:
            broken.append(f"whether the forecast was sealed before {name} started is not known")
        elif began < sealed:
            broken.append(f"{name} started {started}, before the forecast was sealed")
        else:
            gaps.append((began - sealed).total_seconds())
    said = f"Sealed {forecast.created[:19]}, sha256 {forecast.sha256[:16]}."
    if broken:
        return said, broken
    if gaps:  # by clocks alone
        after = f"the held-out run started {duration(min(gaps))} after it was sealed"
    elif knew:
        after = "the held-out run wrote this digest down before its first step"
    else:
        after = "no held-out run has ended yet"
    return f"{said} The seal holds: the content has this digest, and {after}.", []


def _laws_tried(study: Study) -> str:
    """What each law alone says of the largest held-out run, and its weight in the forecast."""
    target = main_target(study)
    if target is None or not target.by_law:
        return ""
    score = score_of(study, target.run)
    rows = []
    for law, prediction in sorted(target.by_law.items(), key=lambda item: item[1]):
        weight = study.forecast.weights.get(law)
        row = [law, Cell(NONE if weight is None else f"{weight:.0%}", weight)]
        row.append(Cell(loss(prediction), prediction))
        known = score is not None and score.loss
        row.append(Cell(percent(prediction / score.loss - 1) if known else NONE))
        rows.append(row)
    return page.table(("law alone", "weight", f"says of {target.run}", "error"), rows)
