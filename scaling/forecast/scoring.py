"""A sealed forecast against the runs it was made of: DIR/score.json."""

import datetime
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.forecast import sealing
from scaling.runs import files, measure, plans
from scaling.runs.measure import Measure
from scaling.runs.plans import run_folder
from train import record
from train.cli import InputError
from train.record import save_json
from train.strict import check

if TYPE_CHECKING:
    from scaling.runs.plans import Plan
    from train.record import Record

CLOCKS = datetime.timedelta(minutes=10)  # by which those of two machines may well differ
_SCORE = {
    **dict.fromkeys(("run", "status"), str),
    "median": float,
    **dict.fromkeys(("loss", "loss_se", "error", "half_width90"), (float, None)),
    **dict.fromkeys(("inside50", "inside90"), (bool, None)),
}
METRIC = {
    **dict.fromkeys(("value", "median", "error"), float),
    "value_se": (float, None),
    **dict.fromkeys(("inside50", "inside90"), bool),
}
_SCORE_3 = _SCORE | {"metrics": {str: METRIC}}


def score(study: Path) -> Path:
    """Compares a study's sealed forecast with its held-out records and writes DIR/score.json.

    `loss` is what the study's laws are fitted to, and `error` is forecast / loss - 1; that of a
    further metric is forecast - value, in its own units. A run that did not end ok is listed with
    its status, no numbers. `notes` are doubts about the order of events.

    Raises:
      InputError: no seal, an altered seal, changed runs or plan, a run that is not trained yet, or
        one that started before the seal or under another, or is not the run that was forecast.
    """
    path = study / "forecast.json"
    if not path.exists():
        raise InputError(f"{path}: no forecast is sealed; first scaling.forecast --workdir={study}")
    sealed, notes = sealing.load(path), []
    sealing.check_unchanged(study, sealed)
    plan = plans.load(study / "plan.json")
    scores = [_score(study, plan, target, sealed, notes) for target in sealed["targets"]]
    version = files.VERSIONS["score"][-1]
    content = {"version": version, "forecast_sha256": sealed["sha256"], "scores": scores}
    path = study / "score.json"
    save_json(path, content | {"notes": notes})
    return path


def load(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The scores of a score.json by run, and its notes. Raises InputError naming a wrong field."""
    values = {"notes": [], **files.load(path, "score")}
    shape = _SCORE if values["version"] < 3 else _SCORE_3
    check(f"{path}: ", values, {"forecast_sha256": str, "scores": [shape], "notes": [str]})
    return {score["run"]: score for score in values["scores"]}, values["notes"]


def _score(
    study: Path,
    plan: "Plan",
    target: dict[str, Any],
    sealed: dict[str, Any],
    notes: list[str],
) -> dict:
    path = run_folder(study, target["run"]) / "record.json"
    if not path.exists():
        raise InputError(f"{path}: not there; train the held-out run, then score")
    found = record.load(path)
    _check_is_target(path, found, target)
    if found.started:  # else it failed before it began
        notes += _doubts(path, found, sealed)
    low, high = target["interval90"]
    fitted = measure.target(plan.study)
    value, error = fitted.of(found)
    ok = found.status == "ok" and value is not None
    loss = fitted.lack(value) if ok else None
    return {
        "run": target["run"],
        "status": found.status,
        "loss": loss,
        "loss_se": error if ok else None,
        "median": target["median"],
        "error": target["median"] / loss - 1 if loss else None,
        **(_inside(target, loss) if ok else dict.fromkeys(("inside50", "inside90"))),
        "half_width90": (high - low) / 2 / target["median"],
        "metrics": _metrics(target["run"], found, sealed.get("metrics", {})),
    }


def _inside(target: dict[str, Any], value: float) -> dict[str, bool]:
    """Whether a value lies within the intervals of a forecast."""
    ends = {name: target[f"interval{name}"] for name in ("50", "90")}
    return {f"inside{name}": low <= value <= high for name, (low, high) in ends.items()}


def _metrics(run: str, found: "Record", sealed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """How the forecasts of further metrics came out, by name; what was refused is not there."""
    scores = {}
    for name, made in sealed.items():
        value, error = Measure(name, made["best"]).of(found)
        if found.status != "ok" or value is None or "refused" in made:
            continue
        target = next((t for t in made["targets"] if t["run"] == run), None)
        if target is None:
            continue
        scores[name] = {
            "value": value,
            "value_se": error,
            "median": target["median"],
            "error": target["median"] - value,
            **_inside(target, value),
        }
    return scores


def _check_is_target(path: Path, found: "Record", target: dict[str, Any]) -> None:
    """Raises InputError if a record is not of the run, or of the data, that were forecast."""
    actual = {"N": found.N["total"], "D": found.D, "C": found.C["forward"]}
    for name, value in actual.items():
        if not math.isclose(value, target[name], rel_tol=1e-6):
            raise InputError(
                f"{path}: {name}: {value!r}; the run that was forecast has {target[name]!r}"
            )
    for name in ("config_sha256", "data_sha256"):
        value, wanted = getattr(found, name), target.get(name)
        if value and wanted and value != wanted:
            raise InputError(f"{path}: {name}: {value}; the run that was forecast has {wanted}")


def _doubts(path: Path, found: "Record", sealed: dict[str, Any]) -> list[str]:
    """What speaks against the order seal, then run. Raises InputError if it was the other one."""
    sealed_at = sealing.moment(path, "created", sealed["created"])
    early_by = sealed_at - sealing.moment(path, "started", found.started)
    behind = f"started {found.started}, before the forecast was sealed ({sealed['created']})"
    if sealing.check_seal_of(path.parent, sealed):
        doubt = f"{found.run}: {behind}, by its clock; but it knew the seal"
        return [doubt] if early_by > CLOCKS else []
    # A run that no sweep started, or an older one: its clock is all there is.
    if early_by > CLOCKS:
        raise InputError(f"{path}: {behind}: no score")
    return [f"{found.run}: did not write down its seal; only clocks say that it started after it"]
