"""ctc with the blocks of a conformer, on the synthesised verses of configs/ctc.py.

python -m train --config=configs/ctc_conformer.py:width=32,frames=3e6 --workdir=runs/conformer
"""

from ml_collections import ConfigDict

from configs import base, ctc

UNITS_A_ROW = ctc.UNITS_A_ROW


def get_config(dials: str = "") -> ConfigDict:
    """One run; the dials are width and frames."""
    return base.run(recipe, dials, 32, 3e6, UNITS_A_ROW)


def recipe(width: int, frames: float) -> ConfigDict:
    """The recipe of configs/ctc.py with other blocks."""
    if width % 8:
        raise base.BadDial(f"width: {width}; must be a multiple of 8, of 4 heads with rotary pairs")
    config = ctc.recipe(width, frames)
    config.model.update(block="conformer", heads=4, hidden=2 * width, kernel=15)
    return config
