"""tokenizer on emoji: 32 x 32 pixels as 8 x 8 codes of 1,000.

python -m train --config=configs/tokenizer.py:width=40,images=2e5 --workdir=/tmp/tokenizer1
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and images."""
    return base.run(recipe, dials, 40, 200_000)


def recipe(width: int, images: float) -> ConfigDict:
    """The family's ladder.

    The levels are those that Mentzer et al. 2023 (arXiv:2309.15505, section 4.1) have for about a
    thousand codes. Measured on the validation side at width 40 and 30,000 images: a rate of .008
    gives 21.4 dB, .004 21.1, .002 20.7.
    """
    config = base.get_config()
    config.data = {
        "name": "drawings",
        "source": "emoji",
        "evaluation": "test",
        "eval_rows": 0,
        "unique": 0,
        "side": 32,
        "crop": 2,
    }
    config.model = {
        "name": "tokenizer",
        "side": 32,
        "channels": 3,
        "patch": 4,
        "width": width,
        "blocks": 1,
        "levels": (8, 5, 5, 5),
    }
    config.task = {"name": "reconstruct"}
    config.batch_size = 16
    config.log_every = max(1, round(images / config.batch_size / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 64
    config.optimizer.learning_rate = min(0.008, 0.32 / width)
    config.optimizer.weight_decay = 0.0
    config.optimizer.b2 = 0.99
    return config
