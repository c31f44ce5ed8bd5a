"""The law of a conformer beside that of the LSTM: verses and budgets are of configs/studies/ctc.py.

    python -m scaling.study --config=configs/studies/ctc_conformer.py --workdir=studies/conformer
"""

from ml_collections import ConfigDict

from configs.studies import ctc


def get_config() -> ConfigDict:
    """The study."""
    config = ctc.get_config()
    config.update(name="ctc_conformer", experiment="configs/ctc_conformer.py")
    config.sizes = (8, 16, 24, 32, 40, 48, 64)
    return config
