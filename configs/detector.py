"""detector on composed scenes: digits somewhere on photographs.

python -m train --config=configs/detector.py:width=16,images=1e5 --workdir=/tmp/detector1
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 16, 100_000)


def recipe(width: int, images: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of scenes seen."""
    config = base.get_config()
    config.data = {
        "name": "scenes",
        "source": "composed:mnist5k",
        "evaluation": "test",
        "eval_rows": 1000,
        "side": 64,
        "objects": 4,
        "smallest": 10,
        "largest": 40,
        "flip": False,
    }
    config.model = {
        "name": "detector",
        "classes": 0,  # as many as the data has
        "stages": 3,
        "width": width,
        "norm": "group",
        "dtype": "float32",
        "blocks": 1,
        "tower": 1,
    }
    config.task = {
        "name": "detect",
        "class_weight": 4.0,
        "box_weight": 5.0,
        "object_weight": 0.25,
        "focus": 2.0,
        "radius": 1.0,
        "reach": 4.0,
        "suppress": 0.6,
    }
    config.batch_size = 16
    config.log_every = max(1, round(images / config.batch_size / 100))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 250
    config.optimizer.learning_rate = min(0.02, 0.24 / width)
    config.optimizer.b2 = 0.99
    return config
