"""wavenet on prompts of a telephone exchange: speech made sample by sample.

    python -m train --config=configs/wavenet.py:width=12,samples=5e6 --workdir=runs/voice
    python -m train.generate --workdir=runs/voice --prompt='press one' --temperature=1 --to=a.wav

Some minutes on one core (benchmarks/results/families/wavenet.md).

Units are samples, 8,000 a second, of prompts whose texts no run was trained on.
"""

from ml_collections import ConfigDict

from configs import base

UNITS_A_ROW = 379.0  # samples of a window that count, in the mean


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and samples."""
    return base.run(recipe, dials, 12, 5e6, UNITS_A_ROW)


def recipe(width: int, samples: float) -> ConfigDict:
    """The family's ladder: everything that follows from a width and a number of samples.

    Ten layers, through which a sample hears 63, or 8 ms, whatever the width. A step is one window
    of 48 ms: what runs of some million samples lack most is steps. Measured on the validation side
    (benchmarks/results/families/wavenet.md), at width 6 and 3e10 FLOPs: dilations up to 64, 32 and
    16 in windows of 1,600 samples 3.51, 3.50 and 3.44 nats; windows of 1,600, 768 and 384 samples
    3.44, 3.38 and 3.32; learning rates of .01, .02 and .04 in those of 768 3.45, 3.38 and 3.38. No
    weight decay, which changed nothing at width 12. The one rate of all widths is a guess.
    """
    config = base.get_config()
    config.data = {
        "name": "audio",
        "source": "prompts",
        "evaluation": "test",
        "eval_rows": 1344,
        "unique": 0,
        "labels": "phonemes",
        "rate": 8000,
        "hop": 8.0,
        "context": 64,
        "crop": 384,
    }
    config.model = {
        "name": "wavenet",
        "vocab_size": 0,  # of this and the two below as many as the data has
        "labels": 0,
        "hop": 0,
        "stacks": 2,
        "dilations": 5,
        "width": width,
    }
    config.task = {"name": "next_sample"}
    config.batch_size = 1
    config.log_every = max(1, round(base.steps(config, samples, UNITS_A_ROW) / 200))
    config.checkpoint.every = 20000
    config.evaluation.batch_size = 64
    config.optimizer.learning_rate = 0.02
    config.optimizer.weight_decay = 0.0
    config.optimizer.b2 = 0.98
    return config
