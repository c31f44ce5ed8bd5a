"""Translation from a plan to a scored forecast: encoder-decoders on the Bible, and one to foretell.

    python -m scaling.study --config=configs/studies/seq2seq.py --workdir=studies/seq2seq

About 15 minutes on 2 CPU cores. The law is of the loss per target token of three whole books; BLEU
and chrF of their translations stand beside it in runs.csv. Below these budgets models do not yet
look at the source, and no law of such runs foretells those that do
(benchmarks/results/families/seq2seq.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "seq2seq",
            "experiment": "configs/seq2seq.py",
            "sizes": (16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128),
            "budgets": (7.5e11, 1.5e12, 3e12),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 4.2, "exponent": 0.364},
            "heldout": (2.5,),
            "seeds": (0,),
            "max_epochs": 4.0,
            "law": "",
            "noise": 0.01,
        }
    )
