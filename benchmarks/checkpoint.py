"""What a checkpoint costs the training it interrupts: step time with saves and without.

    python -m benchmarks.checkpoint [--width=256] [--steps=100] [--repeats=3]

Stretches of `steps` steps of the gpt recipe, of which every other one begins with a save that goes
on behind it, so that a save every `steps` steps is priced with all that it takes from the steps
after it. The aim is a ratio of at most 1.02 at the default settings.
"""

import contextlib
import statistics
import tempfile
import time
from pathlib import Path

from absl import flags

from train.cli import run_main


def stretch(functions, state, hyper, batches, save):
    """Seconds a step over `batches`, after `save(state)`; and the state after them."""
    import jax

    begin = time.monotonic()
    save(state)
    for batch in batches:
        state, _ = functions.train(state, batch, hyper)
    jax.block_until_ready(state)
    return (time.monotonic() - begin) / len(batches), state


def main() -> None:
    """Prints the table."""
    import jax
    from rich.console import Console
    from rich.table import Table

    from configs import gpt
    from train import checkpoint, compilation, run, step
    from train.config import resolve, to_dict

    given = flags.FLAGS
    compilation.use_cache()
    config = resolve(gpt.recipe(given.width, 1e9).to_dict())
    dataset = run.open_data(config)
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    hyper = step.hyper_of(config)
    batches = [dataset.train_batch(0, i, config.batch_size) for i in range(given.steps)]
    state = functions.init(hyper)
    seconds: dict[str, list[float]] = {"none": [], "one": []}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = checkpoint.Checkpoints(Path(folder), config.checkpoint)
        with contextlib.closing(checkpoints):

            def save(state: step.State) -> None:
                checkpoints.save(int(state.step), state, to_dict(config))

            _, state = stretch(functions, state, hyper, batches[:1], save)  # compiles
            for _ in range(given.repeats):
                for kind in seconds:
                    checkpoints.wait()
                    work = save if kind == "one" else lambda state: None
                    took, state = stretch(functions, state, hyper, batches, work)
                    seconds[kind].append(took)
    size = sum(x.nbytes for x in jax.tree.leaves(state)) / 2**20
    table = Table("saves", "step ms", "ratio", title=f"width {given.width}, state {size:.1f} MiB")
    plain = statistics.median(seconds["none"])
    for kind, values in seconds.items():
        middle = statistics.median(values)
        name = "none" if kind == "none" else f"every {given.steps} steps"
        table.add_row(name, f"{middle * 1e3:.2f}", f"{middle / plain:.3f}")
    Console().print(table)


if __name__ == "__main__":
    flags.DEFINE_integer("width", 256, "Of the model.", 1)
    flags.DEFINE_integer("steps", 100, "Between saves.", 1)
    flags.DEFINE_integer("repeats", 3, "Pairs of stretches; medians are shown.", 1)
    run_main(main)
