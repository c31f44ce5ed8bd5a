"""Where the best learning rate lies at several widths, with one rate and with rates by role.

    python -m benchmarks.mup [--widths=16,32,64,128] [--steps=300] [--seeds=2] [--tied]

Trains gpt (configs/gpt.py on embedded text; untied, heads of width 8) at each width and rate, with
one rate for all weights and with those of `configs.base.mup`, and prints the loss on held-out text,
and where a parabola through the least three has its minimum.
"""

import dataclasses
from typing import Any

import numpy as np
from absl import flags

from train.cli import run_main

RATES = 2.0 ** np.arange(-10, -2)
BASE, HEAD = 16, 8  # the width at which both are the same; that of a head


def config_of(width: int, by_role: bool, steps: int, tied: bool) -> Any:
    """A run's config."""
    from configs import base, gpt
    from train import config as configuration

    config = gpt.recipe(width, 1e5)
    config.model.update(heads=width // HEAD, kv_heads=width // HEAD, tied=tied)
    config.data.eval_tokens = 32_768
    config.update(steps=steps, batch_size=4)
    config.evaluation.batch_size = 64
    if by_role:
        config.optimizer.groups = base.mup(width, BASE)
    return configuration.resolve(config.to_dict())


def losses(config: Any, seeds: int) -> np.ndarray:
    """Held-out loss at each of RATES, a mean over seeds; all runs share one executable."""
    from train import before, step

    dataset, B = before.open_data(config), config.evaluation.batch_size
    functions = step.compile_for(config, dataset.eval_batch(0, 1))
    found = np.zeros((seeds, len(RATES)))
    for seed in range(seeds):
        for place, rate in enumerate(RATES):
            hyper = step.hyper_of(dataclasses.replace(config, seed=seed))
            hyper = hyper._replace(learning_rate=np.float32(rate))
            state = functions.init(hyper)
            for now in range(config.steps):
                batch = dataset.train_batch(seed, now, config.batch_size)
                state, _ = functions.train(state, batch, hyper)
            parts = (
                functions.evaluate(state, dataset.eval_batch(i, B), i)
                for i in range(-(-dataset.eval_rows // B))
            )
            sums, units = zip(*((np.sum(sums["loss"]), np.sum(units)) for sums, units in parts))
            found[seed, place] = np.sum(sums) / np.sum(units)
    return found.mean(axis=0)


def best(loss: np.ndarray) -> float:
    """The rate at the minimum of a parabola in its logarithm; the least of RATES at an end."""
    at = int(np.nanargmin(loss))
    if not 0 < at < len(loss) - 1:
        return float(RATES[at])
    a, b, _ = np.polyfit([-1, 0, 1], loss[at - 1 : at + 2], 2)
    return float(RATES[at] * 2 ** (-b / (2 * a)))


def main() -> None:
    """Prints a line a width, as it is measured."""
    from train import cache

    cache.use_cache()
    F = flags.FLAGS
    print(f"{'rates':>8} {'width':>6}", *(f"{rate:>8.4f}" for rate in RATES), f"{'best':>8}")
    for by_role in (False, True):
        for width in map(int, F.widths):
            found = losses(config_of(width, by_role, F.steps, F.tied), F.seeds)
            cells = (f"{x:>8.3f}" for x in found)
            name = "by role" if by_role else "one"
            print(f"{name:>8} {width:>6}", *cells, f"{best(found):>8.4f}", flush=True)


if __name__ == "__main__":
    flags.DEFINE_list("widths", ["16", "32", "64", "128"], "Multiples of 8, the width of a head.")
    flags.DEFINE_integer("steps", 300, "Of a run, 256 tokens each.", 1)
    flags.DEFINE_integer("seeds", 2, "Runs at each rate.", 1)
    flags.DEFINE_bool("tied", False, "The embedding is also the head.")
    run_main(main)
