"""wavenet on prompts of a telephone exchange: speech made sample by sample.

    python -m train --config=configs/wavenet.py:width=12,samples=5e6 --workdir=runs/voice
    python -m train.generate --workdir=runs/voice --prompt='press one' --temperature=1 --to=a.wav

A minute on one core; 2.86 nats per sample at width 12 and 4.7e6 samples, 2.40 at width 24 and
8e7 (benchmarks/results/families/wavenet.md).

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

    Ten layers, through which a sample hears 63, or 8 ms, whatever the width: up to 512 gain nothing
    at width 14 and 5e6 samples. A step is one window of 48 ms. Measured on the validation side
    (benchmarks/results/families/wavenet.md), at width 6 and 3e10 FLOPs: windows of 1,600, 768 and
    384 samples 3.44, 3.38 and 3.32 nats; at width 12 and 4e6 samples those of 192, 384 and 768
    3.07, 3.05 and 3.10, and two of them a step 3.06. No weight decay, which changed nothing at
    width 12.
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
    config.optimizer.learning_rate = rate(width, samples)
    config.optimizer.weight_decay = 0.0
    config.optimizer.b2 = 0.98
    return config


def rate(width: int, samples: float) -> float:
    """The peak learning rate: it falls with width and with length.

    Read off by eye from runs of a rate each, a factor of two apart, on the validation side
    (benchmarks/results/families/wavenet.md). The best of widths 4, 8 and 16 were .02, .02 and .01
    after 2e6 samples (.0197, .0139 and .0098 here), and .01, .01 and .005 after 8e6 (.0113, .008
    and .0057); after 5e5 at least .04, .02 and .01 (.034, .024, .017). Parabolas through them say
    .0072, .75 and .38, where .008, .5 and .4 stand.
    """
    return min(0.04, 0.008 * (8 / width) ** 0.5 * (8e6 / samples) ** 0.4)
