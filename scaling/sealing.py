"""A forecast on record: sealed before its runs are trained, scored after.

DIR/forecast.json is written once. Its `sha256` is of all its other content, its `runs_sha256` of
the runs it was made from, so that neither can be changed afterwards without it being seen.
"""

import datetime
import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.cli import InputError

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
_KNOWN = ("run", "N", "D", "C", "loss", "loss_se", "seed")  # what a run brings into a forecast


def seal(study: Path) -> Path:
    """Forecasts a study's held-out runs from its finished ones and writes DIR/forecast.json, once.

    Reads DIR/runs.csv (role fit, status ok) and the targets from DIR/plan.json. A seal that is
    there already and fits the runs is left as it is.

    Raises:
      InputError: the runs changed since the seal, the seal was altered, a held-out run has started,
        or the runs cannot carry the forecast.
    """
    from scaling import forecast_words
    from scaling.forecast import forecast
    from scaling.table import fit_rows, read_runs
    from train.record import save_json

    path = study / "forecast.json"
    runs = fit_rows(read_runs(str(study / "runs.csv"), split="role"))
    fitted = _runs_digest(runs)
    if path.exists():
        sealed = _load(path)
        if sealed["runs_sha256"] != fitted:
            raise InputError(
                f"{path}: sealed from other runs than {study / 'runs.csv'} holds now; a sealed "
                "forecast is never replaced: start a new study, or restore its runs"
            )
        return path
    targets = _targets(study)
    for name in targets["run"]:
        if (study / "runs" / name).exists():
            raise InputError(
                f"{study / 'runs' / name}: held out, has started; a forecast is sealed first"
            )
    made = forecast_words.to_json(forecast(runs, targets))
    for name, target in zip(targets["run"], made["targets"]):
        target["run"] = name
    content = {
        "version": VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(),
        "runs_sha256": fitted,
        **made,
    }
    save_json(path, content | {"sha256": digest(content)})
    return path


def score(study: Path) -> Path:
    """Compares a study's sealed forecast with its held-out records and writes DIR/score.json.

    `error` is forecast / loss - 1. A run that did not end ok is listed with its status, no numbers.

    Raises:
      InputError: no seal, an altered seal, a run that is not trained yet, or one that started
        before the seal or is not the run that was forecast.
    """
    from train.record import save_json

    sealed = _load(study / "forecast.json")
    created = _time(study / "forecast.json", "created", sealed["created"])
    scores = [_score(study, target, created) for target in sealed["targets"]]
    content = {"version": VERSION, "forecast_sha256": sealed["sha256"], "scores": scores}
    path = study / "score.json"
    save_json(path, content)
    return path


def _score(study: Path, target: dict[str, Any], created: datetime.datetime) -> dict[str, Any]:
    from train import record

    path = study / "runs" / target["run"] / "record.json"
    if not path.exists():
        raise InputError(f"{path}: not there; train the held-out run, then score")
    found = record.load(path)
    low, high = target["interval90"]
    inner_low, inner_high = target["interval50"]
    result = {
        "run": target["run"],
        "status": found.status,
        "loss": None,
        "loss_se": None,
        "median": target["median"],
        "error": None,
        "inside50": None,
        "inside90": None,
        "half_width90": (high - low) / 2 / target["median"],
    }
    if found.status != "ok":
        return result
    if _time(path, "started", found.started) < created:
        raise InputError(
            f"{path}: started {found.started}, before the forecast was sealed: no score"
        )
    actual = {"N": found.N.get("total"), "D": found.D, "C": found.C.get("forward")}
    for name, value in actual.items():
        if value is None or not math.isclose(value, target[name], rel_tol=1e-6):
            raise InputError(
                f"{path}: {name}: {value!r}; the run that was forecast has {target[name]!r}"
            )
    return result | {
        "loss": found.loss,
        "loss_se": found.loss_se,
        "error": target["median"] / found.loss - 1,
        "inside50": inner_low <= found.loss <= inner_high,
        "inside90": low <= found.loss <= high,
    }


def _targets(study: Path) -> "pd.DataFrame":
    """The held-out runs of DIR/plan.json: run, N, D, C and, where the plan knows, epochs."""
    import pandas as pd

    from train.record import load_json

    path = study / "plan.json"
    plan = load_json(path)
    try:
        planned = [run for run in plan["runs"] if run["role"] == "heldout"]
        rows = [
            {
                "run": str(run["run"]),
                "N": float(run["N"]["total"]),
                "D": float(run["D"]),
                "C": float(run["C"]["forward"]),
                "epochs": float(run["epochs"]) if run.get("epochs") is not None else float("nan"),
            }
            for run in planned
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not a plan: {error!r}") from None
    if not rows:
        raise InputError(f"{path}: runs: none has role 'heldout'; there is nothing to forecast")
    return pd.DataFrame(rows)


def _load(path: Path) -> dict[str, Any]:
    from train.record import load_json

    sealed = load_json(path)
    if not isinstance(sealed, dict) or sealed.get("version") != VERSION:
        raise InputError(f"{path}: not a sealed forecast of version {VERSION}")
    content = {name: value for name, value in sealed.items() if name != "sha256"}
    if sealed.get("sha256") != digest(content):
        raise InputError(f"{path}: sha256: its content was changed after it was sealed")
    return sealed


def _time(path: Path, field: str, text: Any) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        raise InputError(f"{path}: {field}: {text!r}; a date and time in ISO 8601") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _runs_digest(runs: "pd.DataFrame") -> str:
    """Digest of what the runs bring into a forecast; neither row order nor other columns count."""
    kept = [name for name in _KNOWN if name in runs.columns]
    return digest(sorted([repr(value) for value in row] for row in runs[kept].to_numpy().tolist()))
