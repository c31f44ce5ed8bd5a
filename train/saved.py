"""A run that is looked at again: its folder, and its state from a checkpoint."""

import contextlib
import dataclasses
from pathlib import Path

import data
from train import before, step
from train import checkpoint as checkpoints
from train import config as configuration
from train import workdir as workdirs
from train.cli import InputError
from train.config import Mesh, RunConfig
from train.devices import sharding


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has a checkpoint."""

    workdir: Path
    step: int  # of the checkpoint; 0 = the newest
    config: RunConfig  # on devices that are here
    dataset: data.Dataset
    functions: step.Functions

    def state(self) -> step.State:
        """What the checkpoint holds."""
        found = checkpoints.Checkpoints(self.workdir, self.config, self.dataset.digest)
        with contextlib.closing(found):
            if self.step:
                return found.restore(self.step, self.functions.abstract)
            return found.restore_newest(self.functions.abstract)[0]


def folder(given: str | None) -> Path:
    """The folder that --workdir names. Raises InputError where it is missing or holds no run."""
    if not given:
        raise InputError("--workdir: missing; give the folder of a run")
    if not workdirs.read(Path(given)):
        raise InputError(f"--workdir: {given!r}; it holds no run")
    return Path(given)


def open_run(workdir: Path, step_number: int) -> Run:
    """Opens a run, and its data.

    Args:
      workdir: the run's folder.
      step_number: of the checkpoint; 0 = the newest.

    Raises:
      InputError: no such checkpoint, or the data are not those of the run.
    """
    there = checkpoints.saved_steps(workdir)
    if not there:
        raise InputError(f"--workdir: {str(workdir)!r}; it has no checkpoint")
    if step_number and step_number not in there:
        steps = ", ".join(map(str, there))
        raise InputError(f"--step: {step_number}; there are checkpoints of {steps}")
    config = _here(configuration.resolve(workdirs.read(workdir)["config"]))
    dataset = before.open_data(config)
    workdirs.check(workdir, config, dataset.digest)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    return Run(workdir, step_number, config, dataset, functions)


def _here(config: RunConfig) -> RunConfig:
    """On the run's own mesh, or on one of what devices there are: no number depends on it."""
    try:
        sharding.make_mesh(config.mesh)
    except InputError:
        alone = Mesh(**dict.fromkeys(sharding.AXES, 1) | {"data": -1})
        return dataclasses.replace(config, mesh=alone, microbatches=0, accumulate=1)
    return config
