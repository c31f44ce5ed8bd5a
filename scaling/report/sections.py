"""The sections of a study's report, from what was asked to what was run."""

from collections.abc import Mapping

from scaling.report import ahead, appendix, exponents, fit_page, forecast_section, metrics, page
from scaling.report.appendix import dig
from scaling.report.drawing import Figure
from scaling.report.files import Score, Study, Target
from scaling.report.findings import Findings
from scaling.report.forecast_section import main_target, score_of
from scaling.report.marks import named
from scaling.report.page import Cell
from scaling.runs.numbers import count, loss, number, percent

_FORECAST = {
    "runs fitted": "Grey points: the runs that the laws were fitted to.",
    "forecast,": "The line is the forecast for runs of the held-out run’s shape with the 90% "
    "interval of one run, dashed beyond the largest run fitted.",
    "best loss by": "There is no forecast to draw: the line is the least loss that the law expects "
    "at each budget, dashed beyond the largest run fitted.",
    "IsoFLOP minima": "Rings: the least loss at each budget, by approach 2.",
    "sealed forecast": "Diamond: the forecast, written to a sealed file before the held-out run "
    "started, with its 90% interval.",
    "outcome": "Star: what came out.",
}
_BY_LAW = {
    "one law alone": "Points: each law’s own prediction.",
    "sealed forecast": "Diamond: the sealed forecast.",
    "outcome": "The line across is the outcome, its band 90% of the evaluation’s error.",
}
_ISOFLOP = {
    "": "One curve a budget: small models see more data, large ones less.",
    "parabola": "Solid: the parabolas of approach 2, fitted to the logarithm of the loss; runs far "
    "above the best one are left out of them.",
    "minima": "Rings: their minima.",
    "the law": "Dashed: the law at the same budgets.",
}
_OPTIMUM = {
    "90% band": "Bands: 90% intervals, by bootstrap; each takes its approach as right.",
    "approach 1": "Approach 1 reads the loss curves, where the learning rate had not decayed yet: "
    "it is here for comparison.",
    "held-out run": "Diamond: the held-out run.",
}
_CONTOURS = {
    "loss": "Lines of equal loss; each is leftmost, that is cheapest, at its best size.",
    "efficient frontier": "Green: the best size at each budget, dashed beyond the runs fitted.",
    "runs fitted": "Grey points: the runs fitted.",
    "held-out run": "Star: the held-out run.",
}
_CLOUD = {
    "": "Each point is one bootstrap refit; the outermost hundredth is not drawn.",
    "estimates": "Diamonds: the estimates. Where two clouds lie apart, the approaches disagree by "
    "more than the noise of the runs explains.",
}
_CURVES = {
    "": "Training loss, coloured by budget; each point is the mean over a bin of compute, since "
    "the loss of a single batch is mostly noise.",
    "envelope": "Green: the envelope, the least loss that any run has at each compute.",
    "not ok": "Dashed: runs that did not end well.",
}
_RESIDUALS = {
    "": "How far each run’s loss lies from the law; violet small models, orange large ones. A "
    "trend means that the form of the law does not fit.",
    "held-out run": "Star: the held-out run.",
}


def body(study: Study, found: Findings, figures: Mapping[str, Figure]) -> str:
    """The report's content as HTML."""
    parts = [
        _headline(study, found),
        _pair(study, figures, {"forecast": _FORECAST, "forecast_by_law": _BY_LAW}, "pair uneven"),
        page.notes(found.outlook.notes),
        forecast_section.sealed(study),
        metrics.section(study, figures),
        ahead.section(study, found.outlook),
        _best_sizes(study, found, figures),
        _loss_curves(found, figures),
        _parameters(study, figures),
        appendix.runs(study),
        appendix.what_was_run(study),
        "<footer>Made by Allometry from the study’s files alone.</footer>",
    ]
    return "\n".join(part for part in parts if part)


def _pair(
    study: Study,
    figures: Mapping[str, Figure],
    captions: Mapping[str, Mapping[str, str]],
    style: str = "pair",
) -> str:
    """Figures side by side, as far as they are there."""
    shown = "".join(_figure(study, name, figures, told) for name, told in captions.items())
    return f'<div class="{style}">{shown}</div>' if shown else ""


def _figure(study: Study, name: str, figures: Mapping[str, Figure], told: Mapping[str, str]) -> str:
    """A figure with its caption, in the words of what this study fits."""
    return page.figure(name, figures, {named(k, study): named(v, study) for k, v in told.items()})


def _families(study: Study) -> list[str]:
    records = [run.record for run in study.runs if run.record]
    names = {str(dig(record.config, "model", "name")) for record in records}
    return sorted(names - {study.name})


def _headline(study: Study, found: Findings) -> str:
    target, held = main_target(study), study.role("heldout")
    largest = max(held, key=lambda run: run.C) if held else None
    names = " · ".join([study.name, *_families(study)])
    head = f'<p class="kicker">Allometry study · {page.text(names)}</p>'
    if largest is None:
        title = "What is more compute worth?"
    else:
        title = (
            f"What {study.target.label} does a model of {count(largest.N)} parameters reach after "
            f"{count(largest.D)} {study.unit}s?"
        )
    head += f"<h1>{page.text(title)}</h1>"
    ended = [run for run in study.runs if run.record]
    absent = _missing(study, found.outlook.refused)
    if absent:
        words = f"{len(ended)} of {len(study.runs)} runs have ended. Not there yet: "
        head += page.paragraph(words + "; ".join(absent) + ".", "missing")
    if found.outlook.refused:
        why = found.outlook.refused.removeprefix("targets: ").removeprefix("--runs: ")
        start = "The study stopped" if study.forecast else "There is no forecast, it was refused"
        head += page.paragraph(f"{start}: {why}.", "refused")
    if target is None:
        return head
    score = score_of(study, target.run)
    return (
        head + page.paragraph(_verdict(study, target, score), "lead") + _tiles(study, target, score)
    )


def _missing(study: Study, refused: str) -> list[str]:
    """What is still to come; after a refusal nothing is."""
    steps = (
        (all(run.record for run in study.role("fit")), "records of all runs to fit"),
        (study.isoflop, "approach 2 (isoflop.json)"),
        (study.fit, "the law (law.json)"),
        (study.forecast or not study.role("heldout"), "a sealed forecast (forecast.json)"),
        (all(run.record for run in study.role("heldout")), "the held-out run"),
        (study.scores is not None or not study.role("heldout"), "the score (score.json)"),
    )
    return [words for there, words in steps[: 3 if refused else None] if not there]


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
        for name, (value, known) in run.record.metrics.items() if run and run.ok else ():
            if name != (study.target.name or run.record.of_record) and "/" not in name:
                within = "" if known is None else f" ± {number(known, 2)}"
                error += f" · {number(value)}{within} {name.replace('_', ' ')}"
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


def _best_sizes(study: Study, found: Findings, figures: Mapping[str, Figure]) -> str:
    exponent = ""
    if found.estimates:
        words = "Exponents of the best size and the best amount of data, beside published ones:"
        exponent = page.paragraph(words)
        exponent += f'<div class="sources">{exponents.table(found.estimates)}</div>'
    return page.section(
        "The best size at each budget",
        _figure(study, "isoflop", figures, _ISOFLOP),
        _pair(study, figures, {"optimal_N": _OPTIMUM, "optimal_D": _OPTIMUM}),
        _pair(study, figures, {"contours": _CONTOURS, "cloud": _CLOUD}),
        exponent,
        page.notes(study.isoflop.warnings) if study.isoflop else "",
    )


def _loss_curves(found: Findings, figures: Mapping[str, Figure]) -> str:
    shown = page.figure("loss_curves", figures, _CURVES)
    if not shown:
        return ""
    absent = f"no approach 1: {found.first}" if isinstance(found.first, str) else ""
    return page.section("Loss curves", shown, page.notes([absent] if absent else [], "reason"))


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
        heading = f"Approach 3: {law.name}, {named(law.target, study)} = {law.formula}"
        parts += [f"<h3>{page.text(heading)}</h3>"]
        parts += [fit_page.parameters(study.fit), fit_page.diagnostics(study.fit)]
    parts.append(_figure(study, "residuals", figures, _RESIDUALS))
    along = {f"residuals_by_{k}": {"": f"The same runs along {k}."} for k in "ND"}
    parts.append(_pair(study, figures, along))
    return page.section("Fitted parameters", *parts) if any(parts) else ""
