"""gan on Fashion-MNIST: a generator and a critic with the same width.

python -m train --config=configs/gan.py:width=16,images=2e5 --workdir=/tmp/gan1
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 8, 64_000)


def recipe(width: int, images: float) -> ConfigDict:
    """The family's ladder."""
    config = base.get_config()
    config.data = {
        "name": "images",
        "source": "fashion_mnist",
        "evaluation": "test",  # 10,000 rows: the size of all distances
        "eval_rows": 0,
        "unique": 0,
        "flip": False,
        "crop": 0,
        "cutout": 0,
        "mixup": 0.0,
    }
    config.model = {"name": "gan", "side": 28, "channels": 1, "width": width, "latent": 64}
    config.model.average = 0.0
    config.task = {
        "name": "adversarial",
        "penalty": 1.0,
        "features": "fashion_mnist",
        "sha256": "bf428a567c822de9f84e085550409dca917ae9c14799b7c31e5ffc7e924e3f07",
    }
    config.batch_size = 32
    config.log_every = max(1, round(images / config.batch_size / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 500
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 0.0
    config.optimizer.b1 = 0.5
    config.optimizer.b2 = 0.99
    config.optimizer.clip_norm = 0.0
    return config
