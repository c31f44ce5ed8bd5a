"""The end of a report: every run, and what was run on what."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scaling.report import page
from scaling.report.files import Run, Study
from scaling.report.page import Cell
from scaling.runs.numbers import NONE, count, duration, scientific

_CONVENTIONS = (
    "N counts every parameter, embedding and head included. D counts training {unit}s. C is that "
    "of the record's “forward” convention: three forward passes (one forward, two for the backward "
    "pass) of all matrix products and convolutions, attention included, a multiply-add being two "
    "FLOPs. Each record holds the other conventions beside it."
)


def runs(study: Study) -> str:
    """A table of all runs that can be sorted."""
    tally = Counter(run.status for run in study.runs)
    words = ", ".join(f"{amount} {status}" for status, amount in tally.items())
    words = f"{len(study.runs)} runs planned: {words}. Click on a heading to sort."
    others = _other_metrics(study)
    columns = ["run", "role", "status", "N", "D", "C", study.target.label, "±"]
    columns += [name.replace("_", " ") for name in others]
    columns += ["rate", "batch", "steps", "epochs", "time", "config"]
    rows = [_run_row(run, others) for run in study.runs]
    styles = {"diverged": "bad", "failed": "bad", "not finished": "wait"}
    classes = [styles.get(r.status, "heldout" if r.role == "heldout" else "") for r in study.runs]
    return page.section(
        "Every run",
        page.paragraph(words),
        page.table(columns, rows, classes, sortable=True),
    )


def _other_metrics(study: Study) -> list[str]:
    """Metrics of the runs, but for the one that is fitted."""
    records = [run.record for run in study.runs if run.record]
    fitted = study.target.name
    named = (n for r in records for n in r.metrics if n != (fitted or r.of_record))
    return list(dict.fromkeys(named))


def _run_row(run: Run, others: Sequence[str]) -> list[Cell | str]:
    record = run.record
    size = [Cell(count(v), v, title=f"{v:,.0f}") for v in (run.N, run.D)]
    status = f"{run.status}: {record.reason}" if record and record.reason else run.status
    row = [run.name, run.role, status, *size, Cell(scientific(run.C), run.C)]
    if record is None:
        return row + [NONE] * (8 + len(others))
    config = record.config
    numbers = (
        (run.loss, "#.5g"),
        (run.loss_se, "#.2g"),
        *((record.metrics.get(name, [None])[0], "#.5g") for name in others),
        (dig(config, "optimizer", "learning_rate"), ".2e"),
        (dig(config, "batch_size"), ",.0f"),
        (dig(config, "steps"), ",.0f"),
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


def dig(config: Any, *path: str) -> Any:
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


def what_was_run(study: Study) -> str:
    """Settings, environment and wall time."""
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
