"""linear on synthetic data with a power-law spectrum: scaling exponents that theory knows.

    python -m train --config=configs/linear.py:features=64,samples=1e5 --workdir=/tmp/linear1

Feature j has variance j^-2 and every feature weighs the same in the target, so with N features kept
and D samples seen once by SGD the loss is near noise^2 + 1/N where data abounds and falls as
D^-(1/2) where features do (Lin et al. 2024, arXiv:2406.08466, theorem 4.1 with a = 2: exponents
a - 1 and (a - 1) / a).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are features and samples."""
    return base.run(recipe, dials, 32, 1e4)


def recipe(features: int, samples: float) -> ConfigDict:
    """The family's ladder. SGD of a quadratic wants the same learning rate at every size."""
    config = base.get_config()
    config.data = {
        "name": "regression",
        "source": "spectrum",
        "features": 1024,
        "eval_examples": 8192,
        "spectrum": 2.0,
        "teacher": 0.0,
        "noise": 0.1,
        "target": "",
    }
    config.model = {"name": "linear", "features": features, "bias": False}
    config.task = {"name": "regression"}
    config.batch_size = 8
    config.log_every = 50
    config.optimizer.update(name="sgd", learning_rate=0.25, weight_decay=0.0, b1=0.0, clip_norm=0.0)
    config.schedule.update(name="cosine", warmup=0.0)
    config.evaluation.batch_size = 2048
    config.checkpoint.every = 0
    return config
