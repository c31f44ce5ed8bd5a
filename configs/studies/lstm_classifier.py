"""Sentences that people rated, told apart by an LSTM: loss against parameters and texts.

    python -m scaling.study --config=configs/studies/lstm_classifier.py --workdir=studies/feelings

9 minutes on 2 CPU cores that others shared. Laws are of the loss; a forecast of the accuracy is
sealed besides.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "lstm_classifier",
            "experiment": "configs/lstm_classifier.py",
            "sizes": (3, 4, 5, 6, 8, 10, 13, 16, 20),
            "budgets": (1.4e9, 3.4e9, 8e9),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 706.0, "exponent": 0.168},
            "heldout": (3.0,),
            "seeds": (0,),
            "max_epochs": 12.0,
            "law": "",
            "noise": 0.02,  # standard errors of 1,900 texts are 2 to 3%
            "metrics": ("accuracy",),
            "bar": {"accuracy": 0.76},
        }
    )
