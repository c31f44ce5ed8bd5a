"""A forecast on record: sealed before its runs are trained (and scored after,
`scaling.forecast.scoring`).

DIR/forecast.json is written once. Its `sha256` is of all its other content; in that stand digests
of the runs it was made from, of the plan, and of the config and data of each held-out run. A
held-out run writes down, before its first step, under which seal it starts (seal.sha256 in its
folder), so that a seal made anew after the outcome is not the one that the run knows. That order
needs no clock; clocks of two machines may disagree.
"""

import datetime
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.forecast import metric, words
from scaling.forecast.forecasting import forecast
from scaling.laws import LAWS
from scaling.runs import files, measure, plans, records
from scaling.runs.plans import Plan, PlannedRun, run_folder
from train.cli import InputError, Unavailable
from train.record import save_text
from train.strict import check

if TYPE_CHECKING:
    import pandas as pd

VERSION = files.VERSIONS["sealed forecast"][-1]
# What a run brings into a forecast; since version 2 also how often its data repeat.
_KNOWN = ("run", "N", "D", "C", "loss", "loss_se", "seed")
_KNOWN_2 = (*_KNOWN, "epochs")
# What a folder may hold, beside hidden files, in which no step was ever taken.
_NOT_STARTED = {"attempts.jsonl", "traceback.txt", "worker.log"}
_TARGET = {
    "run": str,
    **dict.fromkeys(("N", "D", "C", "decades", "median"), float),
    **{name: [float, float] for name in ("interval50", "interval90")},
    "by_law": {str: float},
}
_SEALED = {
    **dict.fromkeys(("created", "law", "runs_sha256", "sha256"), str),
    **{name: [str] for name in ("reasons", "warnings")},
    "weights": {str: float},
    "targets": [_TARGET],
}
# What version 2 has besides.
_TARGET_2 = _TARGET | {"config_sha256": str, "data_sha256": str}
_SEALED_2 = _SEALED | {"plan_sha256": str, "missing": {str: str}, "targets": [_TARGET_2]}
# And version 3: which metric it is of, and the forecasts of others.
_SEALED_3 = _SEALED_2 | {"target": str, "metrics": {str: {"best": float}}}
_SHAPES = {1: _SEALED, 2: _SEALED_2, 3: _SEALED_3}
_METRIC = {
    **{name: [str] for name in ("reasons", "warnings")},
    **{"law": str, "weights": {str: float}, "targets": [_TARGET]},
}


def seal(study: Path, allow_missing: bool = False, law: str | None = None) -> Path:
    """Forecasts a study's held-out runs from its finished ones and writes DIR/forecast.json, once.

    Reads DIR/runs.csv (role fit, status ok) and the targets from DIR/plan.json. A seal that is
    there already and fits the runs is left as it is.

    Args:
      study: the folder.
      allow_missing: whether runs to fit may be missing, because they failed or are not finished;
        the seal then says which. One that diverged is not missing: that is an outcome.
      law: of a forecast that is made now, as `forecast` takes it.

    Raises:
      InputError: the runs or the plan changed since the seal, the seal was altered, a held-out run
        has started, a run to fit is missing, or the runs cannot carry the forecast.
      Unavailable: the file cannot be written.
    """
    path = study / "forecast.json"
    if not path.exists():
        content = _forecast(study, allow_missing, law)
        _create(path, json.dumps(content | {"sha256": digest(content)}, indent=1) + "\n")
    check_unchanged(study, load(path))
    return path


def begin(study: Path, name: str) -> None:
    """Writes into the folder of a held-out run, before its first step, which seal it starts under.

    Without a seal nothing is written, nor into a run that started without one.

    Raises:
      InputError: the run started under another seal than the one that is there.
      Unavailable: the file cannot be written.
    """
    if not (study / "forecast.json").exists():
        return
    sealed, folder = load(study / "forecast.json"), run_folder(study, name)
    if not _started(folder):
        _create(folder / "seal.sha256", sealed["sha256"] + "\n")
    check_seal_of(folder, sealed)


def load(path: Path) -> dict[str, Any]:
    """Reads a sealed forecast. Raises InputError naming the field, or if it was altered."""
    sealed = files.load(path, "sealed forecast")
    check(f"{path}: ", sealed, _SHAPES[sealed["version"]])
    for name, made in sealed.get("metrics", {}).items():
        shape = {"refused": str} if "refused" in made else _METRIC
        check(f"{path}: metrics.{name}", made, shape)
    if not is_intact(sealed):
        raise InputError(f"{path}: sha256: its content was changed after it was sealed")
    for target in sealed["targets"]:
        run_folder(path.parent, target["run"])
    moment(path, "created", sealed["created"])
    return sealed


def _forecast(study: Path, allow_missing: bool, law: str | None) -> dict[str, Any]:
    """The content of a seal, but for its own digest."""
    path = study / "plan.json"
    plan = plans.load(path)
    held = plan.role("heldout")
    if not held:
        raise InputError(f"{path}: runs: none has role 'heldout'; there is nothing to forecast")
    missing = _missing(study, plan)
    if missing and not allow_missing:
        name, why = next(iter(missing.items()))
        raise InputError(
            f"{study}: {len(missing)} of the runs to fit are missing ({name}: {why}): finish them,"
            " failed ones by scaling.sweep --retry=failed, or say --allow_missing"
        )
    for run in held:
        folder = run_folder(study, run.run)
        if _started(folder):
            raise InputError(f"{folder}: held out, has started; a forecast is sealed first")
    runs, targets = _runs(study, plan, missing), _targets(held)
    fitted = measure.target(plan.study)
    made = words.to_json(forecast(runs, targets, law))
    metric.clip(made, fitted, math.copysign(1.0, fitted.worst - fitted.best))
    for run, target in zip(held, made["targets"]):
        names = ("run", "config_sha256", "data_sha256")
        target |= {name: getattr(run, name) for name in names}
    metrics = {}
    for name in plan.study.get("metrics", ()):
        metrics[name] = metric.sealed(runs, targets, measure.measure(plan.study, name))
        for run, target in zip(held, metrics[name].get("targets", ())):
            target["run"] = run.run
    return {
        "version": VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(),
        "runs_sha256": _runs_digest(runs, VERSION, metrics, made["law"]),
        "plan_sha256": _plan_digest(plan),
        "missing": missing,
        "target": fitted.name or "loss",
        "metrics": metrics,
        **made,
    }


def _missing(study: Path, plan: Plan) -> dict[str, str]:
    """The runs to fit that have no outcome of their own, and why, by their records."""
    found = {run.run: records.finished(study, run) for run in plan.role("fit")}
    records.check_table(study, plan, found)
    statuses = {name: ended.status if ended else "not finished" for name, ended in found.items()}
    return {name: said for name, said in statuses.items() if said not in ("ok", "diverged")}


def _runs(study: Path, plan: Plan, but: Mapping[str, str] | None) -> "pd.DataFrame":
    """The runs of DIR/runs.csv that a forecast is made from, without some."""
    runs = records.runs_to_fit(study, plan)
    return runs[~runs["run"].astype(str).isin(list(but))] if but and "run" in runs else runs


def check_unchanged(study: Path, sealed: dict[str, Any]) -> None:
    """Raises InputError if a seal is of other runs or of another plan than the study has now."""
    path, plan = study / "forecast.json", plans.load(study / "plan.json")
    # A run that was missing and has ended since does not enter.
    runs = _runs(study, plan, sealed.get("missing"))
    found = _runs_digest(runs, sealed["version"], sealed.get("metrics", ()), sealed["law"])
    if found != sealed["runs_sha256"]:
        raise InputError(
            f"{path}: sealed from other runs than {study / 'runs.csv'} holds now; a sealed "
            "forecast is never replaced: start a new study, or restore its runs"
        )
    if sealed.get("plan_sha256", now := _plan_digest(plan)) != now:
        raise InputError(
            f"{path}: sealed for another plan than {study / 'plan.json'} is now; start a new "
            "study, or restore its plan"
        )


def seal_of(folder: Path) -> str:
    """The digest of the seal that a held-out run started under; "" if it wrote none down."""
    path = folder / "seal.sha256"
    try:
        with path.open("rb") as file:
            return file.read(100).decode(errors="replace").strip() or "nothing"
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from None


def check_seal_of(folder: Path, sealed: dict[str, Any]) -> bool:
    """Whether a run wrote down this seal. Raises InputError if it was another one."""
    known = seal_of(folder)
    if known not in ("", sealed["sha256"]):
        raise InputError(
            f"{folder / 'seal.sha256'}: the run started under the seal {known!r}, not under that"
            f" of forecast.json: {sealed['sha256']}"
        )
    return bool(known)


def _started(folder: Path) -> bool:
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unavailable(f"{folder}: {error.strerror}") from None
    return any(not name.startswith(".") for name in names - _NOT_STARTED)


def _targets(held: list[PlannedRun]) -> "pd.DataFrame":
    """Held-out runs as targets: N, D, C, parts and, where the data end, epochs."""
    import pandas as pd

    facts = [
        {"N": r.N["total"], "D": r.D, "C": r.C["forward"], "epochs": r.epochs, **records.parts(r.N)}
        for r in held
    ]
    return pd.DataFrame(facts, dtype=float)


def _create(path: Path, text: str) -> None:
    """Writes a file, unless it is there. Raises Unavailable if it cannot be written."""
    try:
        save_text(path, text, once=True)
    except FileExistsError:  # another process was first: its file counts
        return
    except OSError as error:
        raise Unavailable(f"{path}: cannot be written: {error.strerror}") from None


def moment(path: Path, field: str, text: Any) -> datetime.datetime:
    """The time that a file's field says. Raises InputError."""
    found = read_moment(text)
    if found is None:
        raise InputError(f"{path}: {field}: {text!r}; a date and time in ISO 8601")
    return found


def read_moment(text: Any) -> datetime.datetime | None:
    """The time that a text says, in UTC where it names no zone; None where it says none."""
    try:
        found = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def digest(value: Any) -> str:
    """sha256 of a JSON value, however it is laid out."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_intact(sealed: Mapping[str, Any]) -> bool:
    """Whether a forecast's digest is that of its content."""
    content = {name: value for name, value in sealed.items() if name != "sha256"}
    try:
        return sealed.get("sha256") == digest(content)
    except ValueError:  # not a finite number somewhere: nothing of ours was sealed so
        return False


def _plan_digest(plan: Plan) -> str:
    """Digest of which runs a plan has; neither their order nor what else it says counts."""
    return digest(sorted([run.run, run.role, run.config_sha256] for run in plan.runs))


def _runs_digest(runs: "pd.DataFrame", version: int, metrics: Iterable[str], law: str) -> str:
    """Digest of what the runs bring into a forecast; neither row order nor other columns count."""
    known = _KNOWN if version == 1 else _KNOWN_2
    for name in (records.column(runs, asked) for asked in metrics):
        known += (name, f"{name}_se")
    if law in LAWS and set(LAWS[law].columns) <= set(records.PARTS.values()):
        known += LAWS[law].columns
    kept = [name for name in known if name in runs.columns]
    return digest(sorted([repr(value) for value in row] for row in runs[kept].to_numpy().tolist()))
