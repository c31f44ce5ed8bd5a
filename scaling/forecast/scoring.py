"""A sealed forecast against the runs it was made of: DIR/score.json."""

import datetime
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.forecast import sealing
from scaling.runs import files
from scaling.runs.plans import run_folder
from train import record
from train.cli import InputError
from train.record import save_json
from train.strict import check

if TYPE_CHECKING:
    from train.record import Record

CLOCKS = datetime.timedelta(minutes=10)  # by which those of two machines may well differ
_SCORE = {
    **dict.fromkeys(("run", "status"), str),
    "median": float,
    **dict.fromkeys(("loss", "loss_se", "error", "half_width90"), (float, None)),
    **dict.fromkeys(("inside50", "inside90"), (bool, None)),
}


def score(study: Path) -> Path:
    """Compares a study's sealed forecast with its held-out records and writes DIR/score.json.

    `error` is forecast / loss - 1. A run that did not end ok is listed with its status, no numbers.
    `notes` are doubts about the order of events.

    Raises:
      InputError: no seal, an altered seal, changed runs or plan, a run that is not trained yet, or
        one that started before the seal or under another, or is not the run that was forecast.
    """
    path = study / "forecast.json"
    if not path.exists():
        raise InputError(f"{path}: no forecast is sealed; first scaling.forecast --workdir={study}")
    sealed, notes = sealing.load(path), []
    sealing.check_unchanged(study, sealed)
    scores = [_score(study, target, sealed, notes) for target in sealed["targets"]]
    version = files.VERSIONS["score"][-1]
    content = {"version": version, "forecast_sha256": sealed["sha256"], "scores": scores}
    path = study / "score.json"
    save_json(path, content | {"notes": notes})
    return path


def load(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The scores of a score.json by run, and its notes. Raises InputError naming a wrong field."""
    values = {"notes": [], **files.load(path, "score")}
    check(f"{path}: ", values, {"forecast_sha256": str, "scores": [_SCORE], "notes": [str]})
    return {score["run"]: score for score in values["scores"]}, values["notes"]


def _score(study: Path, target: dict[str, Any], sealed: dict[str, Any], notes: list[str]) -> dict:
    path = run_folder(study, target["run"]) / "record.json"
    if not path.exists():
        raise InputError(f"{path}: not there; train the held-out run, then score")
    found = record.load(path)
    _check_is_target(path, found, target)
    if found.started:  # else it failed before it began
        notes += _doubts(path, found, sealed)
    low, high = target["interval90"]
    inner_low, inner_high = target["interval50"]
    ok = found.status == "ok"
    return {
        "run": target["run"],
        "status": found.status,
        "loss": found.loss if ok else None,
        "loss_se": found.loss_se if ok else None,
        "median": target["median"],
        "error": target["median"] / found.loss - 1 if ok else None,
        "inside50": inner_low <= found.loss <= inner_high if ok else None,
        "inside90": low <= found.loss <= high if ok else None,
        "half_width90": (high - low) / 2 / target["median"],
    }


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
