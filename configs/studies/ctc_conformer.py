"""The law of conformers beside that of LSTMs.

    python -m scaling.study --config=configs/studies/ctc_conformer.py --workdir=studies/conformer

Verses and budgets are those of configs/studies/ctc.py.
"""

from ml_collections import ConfigDict

from configs.studies import ctc


def get_config() -> ConfigDict:
    """The study."""
    config = ctc.get_config()
    config.update(name="ctc_conformer", experiment="configs/ctc_conformer.py")
    config.sizes = (8, 16, 24, 32, 40, 48, 64)
    return config
