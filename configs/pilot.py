"""driver that learns by driving: it begins with an imitator's weights and is scored at the wheel.

python -m train --config=configs/driver.py:width=12,decisions=9.34e5 --workdir=/tmp/driver1
python -m train --config=configs/pilot.py:width=12,drives=1e4 --workdir=/tmp/pilot1 \\
    --config.start.run=/tmp/driver1
"""

from ml_collections import ConfigDict

from configs import base, driver


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and drives."""
    return base.run(recipe, dials, 12, 16_000)


def recipe(width: int, drives: float) -> ConfigDict:
    """Everything that follows from a width and a number of drives."""
    config = driver.recipe(width, 32_000)
    config.evals = {}
    config.data = driver.wheel()["data"] | {"starts": 1 << 14, "drives": 8}
    config.task = driver.wheel()["task"]
    config.batch_size = 64
    config.log_every = max(1, round(drives / config.batch_size / 100))
    config.checkpoint.every = 2000
    config.evaluation.batch_size = driver.DRIVES
    config.evaluation.every = "5%"
    config.optimizer.learning_rate = 4e-3
    config.optimizer.weight_decay = 0.0
    return config
