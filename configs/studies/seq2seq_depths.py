"""Encoders and decoders of several depths on the same data, for the law in N_enc and N_dec.

The commands stand in benchmarks/results/families/seq2seq.md: the runs to fit are the points of
a CSV, since a plan of budgets would give each run other data.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "seq2seq_depths",
            "experiment": "configs/seq2seq_depths.py",
            "sizes": (11, 12, 14, 21, 22, 24, 33, 41, 42, 44),
            "budgets": (1e12,),
            "sizes_per_budget": 1,
            "prior": {"coefficient": 0.1107, "exponent": 0.5},
            "heldout": (1.16798,),
            "seeds": (0,),
            "max_epochs": 4.0,
            "law": "",
            "noise": 0.01,
        }
    )
