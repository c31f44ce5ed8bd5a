"""driver that learns by driving: it begins with an imitator's weights and is scored at the wheel.

python -m train --config=configs/driver.py:width=16,decisions=3e6 --workdir=/tmp/driver1
python -m train --config=configs/pilot.py:width=16,drives=4e4 --workdir=/tmp/pilot1 \\
    --config.start.run=/tmp/driver1
"""

from ml_collections import ConfigDict

from configs import base, driver


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and drives."""
    return base.run(recipe, dials, 16, 40_000)


def recipe(width: int, drives: float) -> ConfigDict:
    """Everything that follows from a width and a number of drives.

    Measured on starts to tune on (benchmarks/results/families/driver.md): with batches of 64 drives
    a run may collapse, and one with a discount of .8 gained nothing.
    """
    config = driver.recipe(width, 32_000)
    config.evals = {}
    config.data = driver.wheel()["data"] | {"starts": 1 << 14, "drives": 8}
    config.task = driver.wheel()["task"]
    config.task.entropy = 0.05
    config.batch_size = 256  # 32 starts
    config.log_every = max(1, round(drives / config.batch_size / 100))
    config.checkpoint.every = 200
    config.evaluation.batch_size = driver.DRIVES
    config.evaluation.every = "10%"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 0.0
    return config
