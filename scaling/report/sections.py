"""The sections of a study's report, from what was asked to what was run."""

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from scaling.figures import Figure
from scaling.report import fit_page, page
from scaling.report.files import Run, Score, Study, Target
from scaling.report.page import NONE, Cell, count, duration, loss, number, percent, scientific

_CONVENTIONS = (
    "N counts every parameter, embedding and head included. D counts training {unit}s. C is that "
    "of the record's “forward” convention: three forward passes (one forward, two for the backward "
    "pass) of all matrix products and convolutions, attention included, a multiply-add being two "
    "FLOPs. Each record holds the other conventions beside it."
)


def body(study: Study, figures: Mapping[str, Figure]) -> str:
    """The report's content as HTML."""
    parts = [
        _headline(study),
        _forecast_figures(figures),
        _forecast(study),
        _isoflop(study, figures),
        page.section("Loss curves", page.figure("loss_curves", figures, _CURVES_CAPTION)),
        _parameters(study, figures),
        _runs(study),
        _what_was_run(study),
        "<footer>Made by Allometry from the study’s files alone.</footer>",
    ]
    return "\n".join(part for part in parts if part)


_FORECAST_CAPTION = (
    "Grey: runs the laws were fitted to. The line is the least loss that the law expects at each "
    "budget, dashed beyond the largest run fitted. Diamond: the forecast, written to a sealed file "
    "before the held-out run started, with its 90% interval. Star: what came out."
)
_CURVES_CAPTION = (
    "Training loss, coloured by budget; each point is the mean over a bin of compute, since the "
    "loss of a single batch is mostly noise. Hover for the run’s name."
)
_RESIDUALS_CAPTION = (
    "How far each run’s loss lies from the law; violet small models, orange large ones. A trend "
    "means that the form of the law does not fit."
)


def _main_target(study: Study) -> Target | None:
    targets = study.forecast.targets if study.forecast else ()
    return max(targets, key=lambda target: target.C) if targets else None


def _score_of(study: Study, run: str) -> Score | None:
    return next((score for score in study.scores or () if score.run == run), None)


def _families(study: Study) -> list[str]:
    records = [run.record for run in study.runs if run.record]
    names = {str(_dig(record.config, "model", "name")) for record in records}
    return sorted(names - {study.name})


def _headline(study: Study) -> str:
    target, held = _main_target(study), study.role("heldout")
    largest = max(held, key=lambda run: run.C) if held else None
    names = " · ".join([study.name, *_families(study)])
    head = f'<p class="kicker">Allometry study · {page.text(names)}</p>'
    if largest is None:
        title = "What is more compute worth?"
    else:
        title = (
            f"What loss does a model of {count(largest.N)} parameters reach after "
            f"{count(largest.D)} {study.unit}s?"
        )
    head += f"<h1>{page.text(title)}</h1>"
    ended = [run for run in study.runs if run.record]
    absent = _missing(study)
    if absent:
        words = f"{len(ended)} of {len(study.runs)} runs have ended. Not there yet: "
        head += page.paragraph(words + "; ".join(absent) + ".", "missing")
    if target is None:
        return head
    score = _score_of(study, target.run)
    return (
        head + page.paragraph(_verdict(study, target, score), "lead") + _tiles(study, target, score)
    )


def _missing(study: Study) -> list[str]:
    steps = (
        (all(run.record for run in study.role("fit")), "records of all runs to fit"),
        (study.isoflop, "approach 2 (isoflop.json)"),
        (study.fit, "the law (law.json)"),
        (study.forecast or not study.role("heldout"), "a sealed forecast (forecast.json)"),
        (all(run.record for run in study.role("heldout")), "the held-out run"),
        (study.scores is not None or not study.role("heldout"), "the score (score.json)"),
    )
    return [words for there, words in steps if not there]


def _verdict(study: Study, target: Target, score: Score | None) -> str:
    """The forecast against the outcome in words."""
    fitted = [run for run in study.role("fit") if run.ok]
    low, high = target.interval90
    words = f"From {len(fitted)} runs"
    if fitted:
        ratio = target.C / max(run.C for run in fitted)
        words += f", the largest of them {ratio:.3g} times cheaper"
    words += (
        f", the forecast sealed before training was {loss(target.median)} (90% interval "
        f"{loss(low)} to {loss(high)}), {target.decades:.2f} decades of compute away."
    )
    if score is None:
        return words + " The outcome is not there yet."
    if score.loss is None or score.error is None:
        return words + f" The held-out run ended {score.status}: there is no outcome to compare."
    side = "too high" if target.median > score.loss else "too low"
    verdict = "inside" if score.inside90 else "outside"
    return words + (
        f" The outcome is {loss(score.loss)}: the forecast was {100 * abs(score.error):.2f}% "
        f"{side}, and the outcome lies {verdict} its 90% interval."
    )


def _tiles(study: Study, target: Target, score: Score | None) -> str:
    half = (target.interval90[1] - target.interval90[0]) / 2
    tiles = [_tile("Forecast", loss(target.median), f"± {number(half, 2)} (90%)")]
    if score and score.loss is not None and score.error is not None:
        inside = bool(score.inside90)
        inner = "and inside the 50% one" if score.inside50 else "and outside the 50% one"
        error = "" if score.loss_se is None else f"± {number(score.loss_se, 2)} evaluation error"
        run = study.run(target.run)
        if run and run.ok and run.record.bits_per_byte is not None:
            error += f" · {number(run.record.bits_per_byte)} bits per byte"
        tiles += [
            _tile("Outcome", loss(score.loss), error),
            _tile("Error of the forecast", percent(score.error), "forecast against outcome"),
            _tile("90% interval", "inside" if inside else "outside", inner, inside),
        ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(label: str, value: str, detail: str, good: bool | None = None) -> str:
    style = "" if good is None else " good" if good else " bad"
    return (
        f'<div class="tile{style}"><span>{page.text(label)}</span><b>{page.text(value)}</b>'
        f"<span>{page.text(detail)}</span></div>"
    )


def _forecast_figures(figures: Mapping[str, Figure]) -> str:
    laws = "Each law’s own prediction beside the sealed one; red: the outcome."
    pair = page.figure("forecast", figures, _FORECAST_CAPTION)
    pair += page.figure("forecast_by_law", figures, laws)
    return f'<div class="pair uneven">{pair}</div>' if pair else ""


def _forecast(study: Study) -> str:
    forecast = study.forecast
    if forecast is None:
        return ""
    rows = []
    for target in forecast.targets:
        score = _score_of(study, target.run)
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
    sealed, gaps = _moment(forecast.created), []
    for name, started in held:
        began = _moment(started)
        if sealed is None or began is None:
            broken.append(f"whether the forecast was sealed before {name} started is not known")
        elif began < sealed:
            broken.append(f"{name} started {started}, before the forecast was sealed")
        else:
            gaps.append((began - sealed).total_seconds())
    said = f"Sealed {forecast.created[:19]}, sha256 {forecast.sha256[:16]}."
    if broken:
        return said, broken
    if gaps:
        after = f"the held-out run started {duration(min(gaps))} after it was sealed"
    else:
        after = "no held-out run has ended yet"
    return f"{said} The seal holds: the content has this digest, and {after}.", []


def _moment(text: str) -> datetime.datetime | None:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _laws_tried(study: Study) -> str:
    """What each law alone says of the largest held-out run, and its weight in the forecast."""
    target = _main_target(study)
    if target is None or not target.by_law:
        return ""
    score = _score_of(study, target.run)
    rows = []
    for law, prediction in sorted(target.by_law.items(), key=lambda item: item[1]):
        weight = study.forecast.weights.get(law)
        row = [law, Cell(NONE if weight is None else f"{weight:.0%}", weight)]
        row.append(Cell(loss(prediction), prediction))
        known = score is not None and score.loss
        row.append(Cell(percent(prediction / score.loss - 1) if known else NONE))
        rows.append(row)
    return page.table(("law alone", "weight", f"says of {target.run}", "error"), rows)


def _isoflop(study: Study, figures: Mapping[str, Figure]) -> str:
    curves = (
        "One curve a budget: small models see more data, large ones less. Rings mark the minima of "
        "the parabolas, fitted to the logarithm of the loss; runs far above the best one are "
        "left out of them."
    )
    lines = "Bands: 90% intervals, by bootstrap; each takes its approach as right."
    pair = [page.figure(name, figures, lines) for name in ("optimal_N", "optimal_D")]
    return page.section(
        "The best size at each budget",
        page.figure("isoflop", figures, curves),
        f'<div class="pair">{"".join(pair)}</div>' if any(pair) else "",
        page.notes(study.isoflop.warnings) if study.isoflop else "",
    )


def _parameters(study: Study, figures: Mapping[str, Figure]) -> str:
    parts = []
    if study.isoflop:
        iso = study.isoflop
        rows = []
        for name, ends in iso.intervals.items():
            values = (getattr(iso, name), *ends)
            rows.append([name.replace("_", "* "), *(Cell(number(v), 0.0) for v in values)])
        columns = ("", "estimate", f"{iso.level:.0%} from", "to")
        words = (
            "N* = coefficient · C^exponent through the minima of the IsoFLOP curves, D* likewise."
        )
        parts += ["<h3>Approach 2</h3>", page.paragraph(words), page.table(columns, rows)]
    if study.fit:
        law = study.fit.law
        heading = f"Approach 3: {law.name}, {law.target} = {law.formula}"
        parts += [f"<h3>{page.text(heading)}</h3>"]
        parts += [fit_page.parameters(study.fit), fit_page.diagnostics(study.fit)]
    parts.append(page.figure("residuals", figures, _RESIDUALS_CAPTION))
    return page.section("Fitted parameters", *parts) if any(parts) else ""


def _runs(study: Study) -> str:
    tally = Counter(run.status for run in study.runs)
    words = ", ".join(f"{amount} {status}" for status, amount in tally.items())
    words = f"{len(study.runs)} runs planned: {words}. Click on a heading to sort."
    columns = "run role status N D C loss ± bits/byte rate batch steps epochs time config"
    rows = [_run_row(run) for run in study.runs]
    styles = {"diverged": "bad", "failed": "bad", "not finished": "wait"}
    classes = [styles.get(r.status, "heldout" if r.role == "heldout" else "") for r in study.runs]
    return page.section(
        "Every run",
        page.paragraph(words),
        page.table(columns.split(), rows, classes, sortable=True),
    )


def _run_row(run: Run) -> list[Cell | str]:
    record = run.record
    size = [Cell(count(v), v, title=f"{v:,.0f}") for v in (run.N, run.D)]
    status = f"{run.status}: {record.reason}" if record and record.reason else run.status
    row = [run.name, run.role, status, *size, Cell(scientific(run.C), run.C)]
    if record is None:
        return row + [NONE] * 9
    config = record.config
    numbers = (
        (record.loss, "#.5g"),
        (record.loss_se, "#.2g"),
        (record.bits_per_byte, "#.5g"),
        (_dig(config, "optimizer", "learning_rate"), ".2e"),
        (_dig(config, "batch_size"), ",.0f"),
        (_dig(config, "steps"), ",.0f"),
        (record.epochs, ".3g"),
    )
    row += [_number_cell(value, form) for value, form in numbers]
    total = record.seconds.get("total")
    row.append(NONE if total is None else Cell(duration(total), total))
    return [*row, Cell(str(record.config_sha256)[:8], title=str(record.config_sha256))]


def _number_cell(value: Any, form: str) -> Cell:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Cell(NONE)
    return Cell(format(value, form), value, title=repr(value))


def _dig(config: Any, *path: str) -> Any:
    """A value inside nested dicts of which any level may be missing."""
    for name in path:
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            values = value if isinstance(value, list) else [value]
            shown = (f"{v:g}" if isinstance(v, float) else str(v) for v in values)
            yield f"{prefix}{key}", ", ".join(shown)


def _what_was_run(study: Study) -> str:
    records = [run.record for run in study.runs if run.record]
    facts = {
        "seeds": [str(record.seed) for record in records],
        "dataset sha256": [str(record.data_sha256) for record in records if record.data_sha256],
        "git revision": [str(record.revision or "not in git") for record in records],
    }
    for field in ("device", "versions"):
        for record in records:
            for name, value in getattr(record, field).items():
                facts.setdefault(f"{field}: {name}", []).append(str(value))
    rows, mixed = [], []
    for name, values in facts.items():
        tally = Counter(values)
        rows.append([name, ", ".join(tally) or NONE])
        if len(tally) > 1 and name not in ("seeds", "git revision"):
            parts = "; ".join(f"{value} in {runs} runs" for value, runs in tally.items())
            mixed.append(f"the runs differ in {name}: {parts}")
    return page.section(
        "What was run",
        page.paragraph(_CONVENTIONS.format(unit=study.unit)),
        page.notes(mixed),
        '<div class="pair">',
        f"<div><h3>Study</h3>{page.table(('field', 'value'), _flat(study.settings))}</div>",
        f"<div><h3>Environment</h3>{page.table(('', ''), rows)}</div>",
        "</div>",
        _wall_time(study),
    )


def _wall_time(study: Study) -> str:
    seconds: Counter[str] = Counter()
    for run in study.runs:
        seconds.update(run.record.seconds if run.record else {})
    total = seconds.pop("total", 0.0)
    if not total:
        return ""
    rows = [
        [part, Cell(duration(spent), spent), Cell(f"{100 * spent / total:.1f}%", spent)]
        for part, spent in seconds.most_common()
    ]
    rows.append(["all runs together", Cell(duration(total), total), Cell("100%", total)])
    return f"<h3>Wall time by part</h3>{page.table(('part', 'time', 'share'), rows)}"
