"""What a checkpoint costs the training it interrupts, against the steps between two of them.

    python -m benchmarks.checkpoint [--width=256] [--batch_size=8] [--steps=100] [--repeats=5]

A save holds the training loop while the state is copied, and goes on behind it. On CPU that too
takes time from the steps, at most as much as it takes alone, which is what is measured here: whole
stretches of steps with and without a save differ by less than the noise of this kind of machine.
The aim is a share of at most 2% at the default settings.
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

from absl import flags

from train.cli import run_main


def main() -> None:
    """Prints the table."""
    import jax
    from rich.console import Console
    from rich.table import Table

    from configs import gpt
    from train import before, cache, checkpoint, step
    from train.config import resolve

    given = flags.FLAGS
    cache.use_cache()
    values = gpt.recipe(given.width, 1e9)
    values.batch_size = given.batch_size
    config = resolve(values.to_dict())
    dataset = before.open_data(config)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    hyper, state = step.hyper_of(config), None
    steps, held, whole = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = checkpoint.Checkpoints(Path(folder), config, dataset.digest)
        with contextlib.closing(checkpoints):
            for i in range(1 + given.repeats):  # the first one compiles
                state = functions.init(hyper) if state is None else state
                for now in range(10):
                    batch = dataset.train_batch(0, now, config.batch_size)
                    begin = time.monotonic()
                    state, _ = jax.block_until_ready(functions.train(state, batch, hyper))
                    steps += [time.monotonic() - begin] * (i > 0)
                begin = time.monotonic()
                checkpoints.save(i, state)
                held += [time.monotonic() - begin] * (i > 0)
                checkpoints.wait()
                whole += [time.monotonic() - begin] * (i > 0)
    size = sum(x.nbytes for x in jax.tree.leaves(state)) / 2**20
    words = f"width {given.width}, state {size:.0f} MiB"
    table = Table(words, "ms", f"share of {given.steps} steps", title_justify="left")
    between = statistics.median(steps) * given.steps
    for name, seconds in (("a step", steps), ("save, holding", held), ("save, in all", whole)):
        middle = statistics.median(seconds)
        table.add_row(name, f"{middle * 1e3:.1f}", f"{middle / between:.2%}")
    Console().print(table)


if __name__ == "__main__":
    flags.DEFINE_integer("width", 256, "Of the model.", 1)
    flags.DEFINE_integer("batch_size", 8, "Examples of 64 tokens a step.", 1)
    flags.DEFINE_integer("steps", 100, "Between saves.", 1)
    flags.DEFINE_integer("repeats", 5, "Saves measured; medians are shown.", 1)
    run_main(main)
