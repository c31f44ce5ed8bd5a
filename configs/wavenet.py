"""wavenet on prompts of a telephone exchange: speech made sample by sample.

    python -m train --config=configs/wavenet.py:width=12,samples=5e6 --workdir=runs/voice
    python -m train.generate --workdir=runs/voice --prompt='press one' --temperature=1 --to=a.wav

Some minutes on one core (benchmarks/results/families/wavenet.md).

Units are samples, 8,000 a second, of prompts whose texts no run was trained on.
"""

from ml_collections import ConfigDict

from configs import base

UNITS_A_ROW = 1530.0  # samples of a window that count, in the mean


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and samples."""
    return base.run(recipe, dials, 12, 5e6, UNITS_A_ROW)


def recipe(width: int, samples: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of samples.

    Fourteen layers, of which a sample hears 255, or 32 ms, whatever the width. A step is one window
    of a fifth of a second: what a run of some million samples lacks most is steps. Measured on the
    validation side (benchmarks/results/families/wavenet.md).
    """
    config = base.get_config()
    config.data = {
        "name": "audio",
        "source": "prompts",
        "evaluation": "test",
        "eval_rows": 640,
        "unique": 0,
        "labels": "phonemes",
        "rate": 8000,
        "hop": 8.0,
        "context": 256,
        "crop": 1600,
    }
    config.model = {
        "name": "wavenet",
        "vocab_size": 0,  # of this and the two below as many as the data has
        "labels": 0,
        "hop": 0,
        "stacks": 2,
        "dilations": 7,
        "width": width,
    }
    config.task = {"name": "next_sample"}
    config.batch_size = 1
    config.log_every = max(1, round(base.steps(config, samples, UNITS_A_ROW) / 200))
    config.checkpoint.every = 5000
    config.evaluation.batch_size = 32
    config.optimizer.learning_rate = 0.02
    config.optimizer.weight_decay = 0.0
    config.optimizer.b2 = 0.98
    return config
