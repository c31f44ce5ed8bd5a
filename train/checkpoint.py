"""Checkpoints: the state of a run under its workdir, by Orbax, saved while training goes on.

Every process writes the parts of the state that it holds, into one shared folder, and reads those
that it is to hold: a run may go on with another mesh and another number of processes.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from train import hosts
from train.cli import InputError
from train.config import Checkpoint
from train.step import State

_LOSS = "eval_loss"


class SaveError(Exception):
    """A checkpoint could not be written; those before it are as they were."""


class Unreadable(InputError):
    """A checkpoint is damaged, or is of another program."""


class Checkpoints:
    """A run's checkpoints. One is there whole or not at all, whenever the process dies."""

    def __init__(self, workdir: Path, config: Checkpoint):
        self._folder = (workdir / "checkpoints").absolute()
        kept = [ocp.checkpoint_managers.LatestN(config.keep)]
        if config.best:
            kept.append(
                ocp.checkpoint_managers.BestN(
                    get_metric_fn=lambda metrics: metrics[_LOSS],
                    reverse=True,  # the lowest is the best
                    n=config.best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=ocp.checkpoint_managers.AnyPreservationPolicy(kept),
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
        )
        self._manager = ocp.CheckpointManager(
            self._folder, options=options, item_names=("state", "config", "metrics")
        )

    def steps(self) -> list[int]:
        """The complete steps, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self, step: int, state: State, config: dict[str, Any], eval_loss: float | None = None
    ) -> None:
        """Starts saving; the state's buffers may be reused as soon as this returns.

        Args:
          step: steps taken.
          state: of the run.
          config: saved with it, for whoever finds the folder.
          eval_loss: on the validation set at this step, which decides what is best; None: unknown.

        Raises:
          SaveError: this save or the one before it failed.
        """
        if step == self._manager.latest_step():
            return
        items = {
            "state": ocp.args.StandardSave({"state": state, "digest": digest(state)}),
            "config": ocp.args.JsonSave(config),
        }
        metrics = None if eval_loss is None else {_LOSS: eval_loss}
        try:
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)
        except Exception as error:
            raise self._failed(error) from error

    def check(self) -> None:
        """Raises SaveError if a save under way has failed."""
        try:
            self._manager.check_for_errors()
        except Exception as error:
            raise self._failed(error) from error

    def wait(self) -> None:
        """Returns once every save is complete. Raises SaveError if one failed."""
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> SaveError:
        reason = " ".join(str(error).split())
        if "No space left" in reason:
            reason = "no space left on the device"
        kept = [step for step in self.steps() if (self._folder / str(step)).exists()]
        left = f"step {kept[-1]} is whole" if kept else "none is there"
        return SaveError(f"{self._folder}: cannot save: {reason[:300]}; {left}")

    def restore(self, step: int, abstract: State) -> State:
        """Reads a step into the shapes and shardings of `abstract`, whichever it was saved with.

        Raises:
          Unreadable: in every process, if in one of them it is damaged.
        """
        # Not by the manager: it makes the processes wait for each other in the middle, and one that
        # finds its part damaged would never come.
        folder = self._folder / str(step) / "state"
        one = jax.ShapeDtypeStruct((), jnp.uint32, sharding=abstract.step.sharding)
        target = {"state": abstract, "digest": one}

        def read() -> dict[str, Any]:
            try:
                return ocp.StandardCheckpointHandler().restore(
                    folder, args=ocp.args.StandardRestore(target)
                )
            except Exception as error:  # of any library in between
                reason = " ".join(str(error).split())[:200]
                raise Unreadable(f"{folder}: {type(error).__name__}: {reason}") from error

        saved = hosts.together(read)
        if int(digest(saved["state"])) != int(saved["digest"]):
            raise Unreadable(f"{folder}: its numbers are not those that were saved")
        return saved["state"]

    def restore_newest(self, abstract: State) -> tuple[State, int] | None:
        """The newest state that can be read, and its step; None if there never was one.

        Damaged ones that are newer are set aside, in `checkpoints.damaged`, with a warning.

        Raises:
          InputError: there are checkpoints, and none can be read.
        """
        damaged: dict[int, str] = {}
        for step in hosts.first(self.steps)[::-1]:
            try:
                state = self.restore(step, abstract)
            except InputError as error:
                damaged[step] = str(error)
                continue
            if damaged:
                hosts.first(lambda good=step: self._set_aside(damaged, good))
                self._manager.reload()
            return state, step
        if damaged:
            raise InputError(f"no checkpoint can be read: {'; '.join(damaged.values())}")
        return None

    def _set_aside(self, damaged: dict[int, str], good: int) -> None:
        aside = self._folder.with_name("checkpoints.damaged")
        aside.mkdir(exist_ok=True)
        for step, reason in damaged.items():
            shutil.rmtree(aside / str(step), ignore_errors=True)
            (self._folder / str(step)).rename(aside / str(step))
            print(
                f"warning: checkpoint {step} cannot be read and is now in {aside}; "
                f"going on from checkpoint {good} ({reason})",
                file=sys.stderr,
            )

    def close(self) -> None:
        """Waits for what is being saved and lets go of the folder; failures are not told."""
        try:
            self._manager.close()
        except Exception:
            return


@jax.jit
def digest(tree: Any) -> jax.Array:
    """A number, uint32, that any one changed bit changes, and no mesh.

    Orbax finds a file that is cut off, but takes a flipped bit in its data as it is. Bits are mixed
    with their place by steps that can be undone, so a change in one element always shows; the
    sum of integers is the same in any order, so the layout does not.
    """
    total = jnp.zeros((), jnp.uint32)
    for salt, leaf in enumerate(jax.tree.leaves(tree)):
        place = jnp.full(leaf.shape, salt, jnp.uint32)
        for axis, size in enumerate(leaf.shape):
            along = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
            place = place * jnp.uint32(size) + along
        kind = np.dtype(f"uint{8 * leaf.dtype.itemsize}")
        bits = jax.lax.bitcast_convert_type(leaf, kind).astype(jnp.uint32)
        mixed = (bits ^ (place * jnp.uint32(0x9E3779B1))) * jnp.uint32(0x85EBCA6B)
        total += jnp.sum(mixed ^ (mixed >> 15), dtype=jnp.uint32)
    return total
