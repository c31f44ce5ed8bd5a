"""What `python -m scaling.plan` does with its flags."""

import dataclasses
from pathlib import Path
from typing import Any

from scaling.console import budget
from scaling.plan import hbm
from scaling.plan.planning import load, make, read_points, resolve, scaled, with_names_of
from scaling.plan.show import show
from scaling.runs import plans
from train.cache import use_cache
from train.cli import InputError, config_values
from train.compile import topology


def run(given: Any) -> int:
    """Plans the study of the flags."""
    if given.topology:
        topology.devices(given.topology)  # a wrong name is found before anything is written
    values, workdir = config_values("configs/studies/demo.py"), given.workdir
    if not workdir:
        raise InputError("--workdir: missing; give a folder for the study")
    rate = budget.rate_of(given)
    study, flops = resolve(values), budget.budget_of(given, rate)
    points = read_points(given.points) if given.points else ()
    if points and flops is not None:
        raise InputError("--points: not with a budget; the points are what it buys")
    if given.unique is not None:
        study = resolve(dataclasses.asdict(study) | {"unique": given.unique})
    if flops is not None:
        study = scaled(study, flops)
    plan = make(study, points)
    path = Path(workdir) / "plan.json"
    if path.exists():
        plan = with_names_of(plan, load(path))
    plans.save(path, plan)

    use_cache()
    show(plan, rate)
    if flops is not None:
        budgets = ", ".join(f"{budget:g}" for budget in study.budgets)
        unique = f" --config.unique={study.unique:g}" if study.unique else ""
        print(f"scaling.study makes this plan with --config.budgets='({budgets},)'{unique}")
    if not given.topology:
        return 0

    return 0 if hbm.check(plan, given.topology) else 1
