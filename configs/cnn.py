"""cnn on Fashion-MNIST: a plain network of two convolutions.

python -m train --config=configs/cnn.py:width=16,images=4e5 --workdir=/tmp/cnn1
"""

from ml_collections import ConfigDict

from configs import base

PASSES = 8  # over the images of a run, of every run
MOST = 53_000  # images; beyond, all that there are, 60,000 or without those for validation 54,004


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 16, 32_000)


def recipe(width: int, images: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of images seen.

    A run makes the same number of passes whatever its size, over as many images as that takes: so
    D stands for unique images, and a law in D is one of them. Opinions: two stages and three times
    the width for the hidden layer keep all parts in proportion. Measured on the validation side
    (benchmarks/results/families/cnn.md): mirrored images help and moved ones do not at so few
    passes, nor does dropout; a learning rate of 0.01 is best at width 12 and as good as 0.004 at
    width 16 on three times the images.
    """
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
        "mixup": 0.0,
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
