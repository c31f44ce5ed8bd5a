"""The plan of a study as plan.json holds it: which runs, in which role, with what account."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from scaling.runs import files
from train.account import Account, from_json, to_json
from train.cli import InputError
from train.record import save_json
from train.strict import check

ROLES = ("fit", "heldout")
# What a study's settings say of metrics, and older ones do not; see scaling.plan.planning.Study.
_METRICS = {
    **{"target": str, "metrics": [str]},
    **{name: {str: float} for name in ("bar", "best", "worst")},
}
_NO_METRICS = {"target": "", "metrics": [], "bar": {}, "best": {}, "worst": {}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlannedRun(Account):
    """One run of a plan."""

    run: str
    role: str  # one of ROLES
    size: int
    budget: float  # FLOPs aimed at; C is what whole steps make of it


@dataclasses.dataclass(frozen=True)
class Plan:
    study: dict[str, Any]
    runs: tuple[PlannedRun, ...]
    version: int = files.VERSIONS["plan"][-1]

    def role(self, role: str) -> list[PlannedRun]:
        """The runs of a role."""
        return [run for run in self.runs if run.role == role]


def run_folder(study: Path, name: str) -> Path:
    """Where a run of a study is trained. Its name stands in files that a stranger may have made.

    Raises:
      InputError: it is not the name of a folder right inside DIR/runs.
    """
    runs = study / "runs"
    path = runs / str(name)
    plain = str(name).isprintable() and "\\" not in str(name) and len(str(name).encode()) <= 200
    if not plain or path.parent != runs or path.name != name or name == "..":
        raise InputError(f"run: {name!r}; a name that stays inside the folder {runs}")
    return path


def save(path: Path, plan: Plan) -> None:
    """Writes plan.json."""
    fields = {"study": plan.study, "runs": [to_json(run) for run in plan.runs]}
    save_json(path, fields | {"version": plan.version})


def load(path: Path) -> Plan:
    """Reads plan.json, whatever configs had for fields when it was made.

    Raises:
      InputError: naming the file, the run and the field.
    """
    values = files.load(path, "plan")
    check(f"{path}: ", values, {"study": {"name": str}, "runs": [{"run": str}]})
    check(f"{path}: study", _NO_METRICS | values["study"], _METRICS)
    if not values["runs"]:
        raise InputError(f"{path}: runs: none; a plan has at least one run")
    runs = tuple(_load_run(path, values["version"], run) for run in values["runs"])
    for name, count in Counter(run.run for run in runs).items():
        if count > 1:
            raise InputError(f"{path}: runs: {count} are named {name!r}; names must differ")
    return Plan(values["study"], runs)


def _load_run(path: Path, version: int, values: dict[str, Any]) -> PlannedRun:
    where = f"{path}: {values['run'][:60]}: "
    run = from_json(PlannedRun, where, {"data_sha256": ""} | values if version == 1 else values)
    if run.role not in ROLES:
        raise InputError(f"{where}role: {run.role!r}; allowed: {', '.join(ROLES)}")
    try:
        run_folder(path.parent, run.run)
    except InputError as error:
        raise InputError(f"{where}{error}") from None
    return run
