"""Checkpoints: the state of a run under its workdir, by Orbax, saved while training goes on.

Every process writes the parts of the state that it holds, into one shared folder, and reads those
that it is to hold: a run may go on with another mesh and another number of processes.

Beside the state lies all that decides what becomes of a checkpoint, in one JSON file each: `config`
and `run` (whose it is, and what it took), `metrics` (its validation loss, once that is known).
"""

import contextlib
import glob
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from train import config as configuration
from train import record
from train.account import Account
from train.cli import InputError, Unavailable
from train.config import Checkpoint, RunConfig
from train.devices import hosts
from train.identity import differences
from train.step import State

STATE = "state/"  # begins the paths of what is the state's
_LOSS = "eval_loss"


def _is_news(line: Any) -> bool:
    """Whether a line of the log tells what nobody else does.

    Orbax prints with a stack trace what a save failed of, and then raises it: SaveError.
    """
    return not line.exc_info or "orbax" not in Path(line.pathname).parts


logging.get_absl_logger().addFilter(_is_news)


class SaveError(Exception):
    """A checkpoint could not be written; those before it are as they were."""


class Unreadable(InputError):
    """A checkpoint is damaged, or is of another run or program."""


class _Older(NamedTuple):
    """The state as versions saved it that knew nothing beside a model's parameters."""

    step: Any
    params: Any
    opt_state: Any


class _Kept:
    """The newest checkpoints, and those of the lowest validation loss, as Orbax asks for it."""

    def __init__(self, config: Checkpoint):
        self._config = config

    def steps(self, losses: Mapping[int, float | None]) -> set[int]:
        """Those to keep of the steps in `losses`; None is a loss that is not known."""
        known = sorted((loss, step) for step, loss in losses.items() if loss is not None)
        newest = sorted(losses)[-self._config.keep :]
        return {*newest, *(step for _, step in known[: self._config.best])}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        kept = self.steps({c.step: (c.metrics or {}).get(_LOSS) for c in checkpoints})
        return [c.step in kept for c in checkpoints]


class Checkpoints:
    """A run's checkpoints. One is there whole or not at all, whenever the process dies."""

    def __init__(self, workdir: Path, config: RunConfig, data_sha256: str):
        """Opens, or makes, the checkpoints in a workdir.

        Args:
          workdir: the run's.
          config: the run's; what is saved is of this run, and nothing else is restored.
          data_sha256: digest of its data.
        """
        self._folder = (workdir / "checkpoints").absolute()
        self._config, self._data_sha256 = config, data_sha256
        self._kept = _Kept(config.checkpoint)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept,
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
        )
        # Arrays in one database are fewer files, but Orbax finds its parts by a pattern, and takes
        # the brackets of a folder's name for one.
        plain = glob.escape(str(self._folder)) == str(self._folder)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=options,
            item_names=("state", "config", "run", "metrics"),
            item_handlers={"state": ocp.StandardCheckpointHandler(use_ocdbt=plain)},
        )

    def steps(self) -> list[int]:
        """The complete steps, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self,
        step: int,
        state: State,
        eval_loss: float | None = None,
        seconds: Mapping[str, float] | None = None,
        account: Account | None = None,
    ) -> None:
        """Starts saving; the state's buffers may be reused as soon as this returns.

        Args:
          step: steps taken.
          state: of the run.
          eval_loss: on the validation set at this step, which decides what is best; None: not known
            yet, see `note`.
          seconds: wall time by kind that the run took to get here.
          account: of the run up to here.

        Raises:
          SaveError: this save or the one before it failed.
        """
        if step == self._manager.latest_step():
            return
        run = {"step": step, "data_sha256": self._data_sha256}
        known = {name: getattr(account, name) for name in "NDC"} if account else {}
        run |= {"seconds": dict(seconds or {}), "account": known}
        items = {
            "state": ocp.args.StandardSave({"state": state, "digest": digest(state)}),
            "config": ocp.args.JsonSave(configuration.to_dict(self._config)),
            "run": ocp.args.JsonSave(run),
        }
        metrics = None if eval_loss is None else {_LOSS: eval_loss}
        if metrics:  # Orbax keeps them in memory, and writes them only with a policy of its own
            items["metrics"] = ocp.args.JsonSave(metrics)
        try:
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics)
        except Exception as error:
            raise self._failed(error) from error

    def note(self, losses: Mapping[int, float]) -> None:
        """Writes validation losses to the steps that were saved without, and keeps the best.

        A run's last step is saved before it is evaluated; older versions saved no losses at all.

        Args:
          losses: by step; the same in every process. Those of steps that are not there are passed
            over.
        """

        def write() -> list[int]:
            known: dict[int, float | None] = {}
            for step in self.steps():
                path = self._folder / str(step) / "metrics" / "metrics"  # where Orbax reads them
                if step in losses and not path.exists():
                    record.save_json(path, {_LOSS: losses[step]})
                known[step] = (self._manager.metrics(step) or {}).get(_LOSS)
            return sorted(known.keys() - self._kept.steps(known))

        if losses:
            surplus = hosts.first(write)
            self._manager.reload()
            for step in surplus:
                self._manager.delete(step)

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
        older = (
            hosts.together(lambda: f"{STATE}extra" not in _collections(folder))
            and not abstract.extra
        )
        target = _Older(abstract.step, abstract.params, abstract.opt_state) if older else abstract
        saved = read(folder, {"state": target, "digest": one})
        if older:
            saved["state"] = State(extra=abstract.extra, **saved["state"]._asdict())
        if int(digest(saved["state"])) != int(saved["digest"]):
            raise Unreadable(f"{folder}: its numbers are not those that were saved")
        if int(saved["state"].step) != step:
            raise Unreadable(f"{folder}: holds step {int(saved['state'].step)}, not {step}")
        return saved["state"]

    def restore_newest(self, abstract: State) -> tuple[State, int] | None:
        """The newest state of this run that can be read, and its step; None if there never was one.

        Damaged ones that are newer, and all that are of another run, are set aside, in
        `checkpoints.damaged`, with a warning.

        Raises:
          Unavailable: there are checkpoints, and none can be used.
        """
        steps = hosts.first(self.steps)
        refused = dict(hosts.first(lambda: [(s, r) for s in steps if (r := self._foreign(s))]))
        for step in steps[::-1]:
            if step in refused:
                continue
            try:
                state = self.restore(step, abstract)
            except InputError as error:
                refused[step] = str(error)
                continue
            if refused:
                hosts.first(lambda good=step: self._set_aside(refused, good))
                self._manager.reload()
            return state, step
        if refused:
            reasons = "; ".join(refused[step] for step in sorted(refused, reverse=True))
            raise Unavailable(
                f"no checkpoint can be used: {reasons}; give a new workdir, or move "
                f"{self._folder} away to begin again"
            )
        return None

    def seconds(self, step: int) -> dict[str, float]:
        """Wall time by kind that the run took to get to a step; {} if older versions saved it."""

        def read() -> dict[str, float]:
            seconds = (self._beside(step, "run") or {}).get("seconds", {})
            if not isinstance(seconds, dict) or not all(map(_is_number, seconds.values())):
                raise Unreadable(f"{self._folder / str(step)}: run.seconds: must be numbers")
            return seconds

        return hosts.first(read)

    def _beside(self, step: int, item: str) -> dict[str, Any] | None:
        """What lies in JSON beside a state; None if nothing does. Raises Unreadable."""
        path = self._folder / str(step) / item / "metadata"
        if not path.parent.exists():
            return None
        try:
            content = record.load_json(path)
        except InputError as error:
            raise Unreadable(str(error)) from None
        if not isinstance(content, dict):
            raise Unreadable(f"{path}: must be an object")
        return content

    def _foreign(self, step: int) -> str | None:
        """Why a checkpoint is not this run's at this step, as far as what lies beside it tells."""
        folder = self._folder / str(step)
        try:
            config, run = self._beside(step, "config"), self._beside(step, "run")
        except Unreadable as error:
            return str(error)
        if config is None:
            return f"{folder}: does not say which run's it is"
        changed = configuration.other_run(self._config, config)
        if run is not None:  # version 1 had none
            expected = {"step": step, "data_sha256": self._data_sha256}
            found = {key: run.get(key) for key in expected}
            changed += differences(expected, found, "checkpoint")
        return f"{folder}: of another run: {'; '.join(changed)}" if changed else None

    def _set_aside(self, refused: Mapping[int, str], good: int) -> None:
        aside = self._folder.with_name("checkpoints.damaged")
        aside.mkdir(exist_ok=True)
        for step, reason in refused.items():
            shutil.rmtree(aside / str(step), ignore_errors=True)
            (self._folder / str(step)).rename(aside / str(step))
            print(
                f"warning: checkpoint {step} cannot be used and is now in {aside}; "
                f"going on from checkpoint {good} ({reason})",
                file=sys.stderr,
            )

    def close(self) -> None:
        """Waits for what is being saved and lets go of the folder; failures are not told."""
        try:
            self._manager.close()
        except Exception:
            return


def saved_steps(workdir: Path) -> list[int]:
    """Steps of the checkpoints in a workdir, oldest first, which need not be open or ours."""
    # A folder gets a bare number for its name once all of it is there.
    names = (path.name for path in (workdir / "checkpoints").glob("*"))
    return sorted(int(name) for name in names if name.isdecimal())


def read(folder: Path, target: Any) -> Any:
    """Reads what was saved in a folder, into the shapes and shardings of `target`.

    Raises:
      Unreadable: in every process, if in one of them it is damaged.
    """

    def part() -> Any:
        with readable(folder):
            args = ocp.args.StandardRestore(target)
            return ocp.StandardCheckpointHandler().restore(folder, args=args)

    return hosts.together(part)


def paths(folder: Path) -> list[str]:
    """What was saved in a folder, by path, in the order in which it was. Raises Unreadable."""
    with readable(folder):
        saved = record.load_json(folder / "_METADATA")["tree_metadata"].values()
        return ["/".join(key["key"] for key in entry["key_metadata"]) for entry in saved]


def _collections(folder: Path) -> set[str]:
    return {"/".join(path.split("/")[:2]) for path in paths(folder)}


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Makes of whatever a library raises while it reads a folder one line: Unreadable."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise Unreadable(f"{folder}: {type(error).__name__}: {reason}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
