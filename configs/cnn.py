"""cnn on Fashion-MNIST: a plain network of two convolutions.

python -m train --config=configs/cnn.py:width=16,images=4e5 --workdir=/tmp/cnn1
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 8
MOST = 53_000


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 16, 32_000)


def recipe(width: int, images: float) -> ConfigDict:
    """The family's ladder."""
    config = base.get_config()
    unique = round(images / PASSES)
    config.data = {
        "name": "images",
        "source": "fashion_mnist",
        "evaluation": "test",
        "eval_rows": 0,
        "unique": unique if unique < MOST else 0,
        "flip": True,
        "crop": 0,
        "cutout": 0,
    }
    config.model = {
        "name": "cnn",
        "classes": 0,  # as many as the data has
        "stages": 2,
        "width": width,
        "norm": "batch",
        "dtype": "float32",
        "hidden": 3 * width,
        "dropout": 0.0,
    }
    config.task = {"name": "classify", "smoothing": 0.0}
    config.batch_size = 32
    config.log_every = max(1, round(images / config.batch_size / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 500
    config.optimizer.learning_rate = 0.01
    config.optimizer.b2 = 0.99
    return config
