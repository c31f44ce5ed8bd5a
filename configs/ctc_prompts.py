"""ctc on recordings of a person: prompts of a telephone exchange, a quarter of an hour in all.

    python -m train --config=configs/ctc_prompts.py:width=48,frames=1.2e6 --workdir=runs/prompts

Two minutes on one core of two; CER .44 of 55 prompts whose texts were held out. A run may begin
with what one of the same width on synthesised speech has learnt, by --config.start.run=runs/voice:

    python -m train --config=configs/ctc.py:width=48,frames=6e6 --workdir=runs/voice

Then, searched with a 6-gram of the run's own texts, it has a CER of .30 (three seeds with eight
voices, benchmarks/results/families/ctc.md).
"""

from ml_collections import ConfigDict

from configs import base, ctc

UNITS_A_ROW = 128.0  # frames of a prompt


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and frames."""
    return base.run(recipe, dials, 48, 1.2e6, UNITS_A_ROW)


def recipe(width: int, frames: float) -> ConfigDict:
    """The recipe of configs/ctc.py on all of the recordings, as many passes as that takes.

    Dropout of 0.3 is a guess. Recordings of more than 6 seconds are left out.
    """
    config = ctc.recipe(width, frames)
    config.data.update(source="prompts", eval_rows=0, unique=0, frames=480, characters=120)
    config.model.dropout = 0.3
    config.log_every = max(1, round(base.steps(config, frames, UNITS_A_ROW) / 200))
    config.evaluation.batch_size = 32
    return config
