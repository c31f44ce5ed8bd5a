"""Sound from a plan to a scored forecast: a person's prompts, and one run to foretell.

    python -m scaling.study --config=configs/studies/wavenet.py --workdir=studies/wavenet

22 minutes on one core that others shared. The law is of the loss per sample; that of what is not
silent stands beside it in runs.csv.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "wavenet",
            "experiment": "configs/wavenet.py",
            "sizes": (4, 5, 7, 9, 12, 16, 21),
            "budgets": (1e11, 2e11, 4e11),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 3.8, "exponent": 0.31},
            "heldout": (4.0,),
            "seeds": (0, 1),
            "max_epochs": 4.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("spoken_loss",),
            "bar": {"loss": 2.9},
        }
    )
