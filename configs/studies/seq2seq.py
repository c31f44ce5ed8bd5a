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
            "sizes": (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128),
            "budgets": (6e10, 1.8e11, 5.4e11),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 0.17, "exponent": 0.5},
            "heldout": (16.0,),
            "seeds": (0,),
            "max_epochs": 4.0,
            "law": "",
            "noise": 0.01,
        }
    )
