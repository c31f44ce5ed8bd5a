"""ctc with the blocks of a conformer.

    python -m train --config=configs/ctc_conformer.py:width=32,frames=3e6 --workdir=runs/conformer

Data and dials are those of configs/ctc.py. At 6e10 to 2.5e11 FLOPs it takes 1.6 to 2.3 times the
compute of LSTMs for the same loss (benchmarks/results/families/ctc.md).
"""

from ml_collections import ConfigDict

from configs import base, ctc

UNITS_A_ROW = ctc.UNITS_A_ROW


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and frames."""
    return base.run(recipe, dials, 32, 3e6, UNITS_A_ROW)


def recipe(width: int, frames: float) -> ConfigDict:
    """The recipe of configs/ctc.py with other blocks.

    Measured on the validation side (benchmarks/results/families/ctc.md): .016 is the best learning
    rate at width 16 and 24, .012 at 32, so it falls as 1 / width from 24 on. Perceptrons of twice
    the width (the paper: four times), 4 heads and kernels of 15 steps (.375 s) are guesses.
    """
    if width % 8:
        raise base.BadDial(f"width: {width}; must be a multiple of 8, of 4 heads with rotary pairs")
    config = ctc.recipe(width, frames)
    config.model.update(block="conformer", heads=4, hidden=2 * width, kernel=15)
    config.optimizer.learning_rate = min(0.016, 0.384 / width)
    return config
