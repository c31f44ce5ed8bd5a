"""Checkpoints: the state of a run under its workdir, by Orbax, saved while training goes on."""

from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from train.config import Checkpoint
from train.step import State


class Checkpoints:
    """A run's checkpoints. One is there whole or not at all, whenever the process dies."""

    def __init__(self, workdir: Path, config: Checkpoint):
        options = ocp.CheckpointManagerOptions(
            max_to_keep=config.keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        folder = (workdir / "checkpoints").absolute()
        self._manager = ocp.CheckpointManager(
            folder, options=options, item_names=("state", "config")
        )

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def save(self, step: int, state: State, config: dict[str, Any]) -> None:
        """Starts saving; the state's buffers may be reused as soon as this returns."""
        if step != self._manager.latest_step():
            items = ocp.args.Composite(
                state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(config)
            )
            self._manager.save(step, args=items)

    def restore(self, step: int, abstract: State) -> State:
        """Reads a step into the shapes and shardings of `abstract`."""
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        return self._manager.restore(step, args=items)["state"]

    def close(self) -> None:
        """Returns once every save is complete."""
        self._manager.wait_until_finished()
        self._manager.close()
