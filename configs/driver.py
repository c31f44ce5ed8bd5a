"""driver on a simulated road: a transformer over the cars around imitates an expert.

python -m train --config=configs/driver.py:width=16,decisions=2e5 --workdir=/tmp/driver1
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

PASSES = 16  # over the decisions of a run, of every run
AN_EPISODE = 39.7  # decisions: the expert seldom crashes
MOST = 8192  # episodes, which take minutes to simulate
DRIVES = 256  # to be scored by at the wheel


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and decisions."""
    return base.run(recipe, dials, 16, 32_000)


def recipe(width: int, decisions: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of decisions seen.

    A run makes the same number of passes whatever its size, over as many episodes as that takes:
    so D stands for decisions that differ, but where that is more than MOST episodes have. Measured
    on episodes of another seed (benchmarks/results/families/driver.md), at width 12 and 9.3e5
    decisions: a learning rate of .004 is better than .01; none below was tried.
    """
    config = base.get_config()
    config.data = {
        "name": "driving",
        "seed": 0,
        "episodes": min(MOST, max(1, round(decisions / PASSES / AN_EPISODE))),
        "eval_episodes": 512,
    }
    config.model = {
        "name": "driver",
        "classes": 0,  # as many as there are actions
        "layers": 2,
        "width": width,
        "heads": max(1, width // 8),
        "hidden": 4 * width,
        "activation": "gelu",
        "qk_norm": False,
        "dropout": 0.0,
        "remat": "none",
        "dtype": "float32",
    }
    config.task = {"name": "classify", "smoothing": 0.0}
    config.evals = {"wheel": wheel()}
    config.batch_size = 64
    config.log_every = max(1, round(decisions / config.batch_size / 100))
    config.checkpoint.every = 20_000
    config.evaluation.batch_size = 1024
    config.optimizer.learning_rate = 0.004
    config.optimizer.b2 = 0.99
    return config


def wheel() -> dict[str, Any]:
    """What a driver is evaluated on beside an expert's decisions: what comes of its own."""
    return {
        "data": {
            "name": "drives",
            "seed": 0,
            "starts": 1,  # nobody practises
            "drives": 1,
            "evaluation": "test",
            "eval_starts": DRIVES,
        },
        "task": {"name": "control", "discount": 0.9, "entropy": 0.0},
        "every": 0,
        "batch_size": DRIVES,
    }
