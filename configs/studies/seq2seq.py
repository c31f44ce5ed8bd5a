"""Translation from a plan to a scored forecast: encoder-decoders on the Bible, and one to foretell.

    python -m scaling.study --config=configs/studies/seq2seq.py --workdir=studies/seq2seq

The law is of the loss per target token of three whole books; BLEU and chrF of their translations
stand beside it in runs.csv.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "seq2seq",
            "experiment": "configs/seq2seq.py",
            "sizes": (16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 96, 112, 128),
            "budgets": (7.5e11, 1.5e12, 3e12),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.0275, "exponent": 0.56},
            "heldout": (8.0,),
            "seeds": (0,),
            "max_epochs": 4.0,
            "law": "",
            "noise": 0.01,
        }
    )
