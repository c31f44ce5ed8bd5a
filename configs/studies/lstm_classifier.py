"""Sentences that people rated, told apart by an LSTM: loss against parameters and texts.

    python -m scaling.study --config=configs/studies/lstm_classifier.py --workdir=studies/feelings

About 5 minutes on 2 CPU cores. Laws are of the loss; a forecast of the accuracy is sealed besides.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "lstm_classifier",
            "experiment": "configs/lstm_classifier.py",
            "sizes": (4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32),
            "budgets": (1.4e9, 4.6e9, 1.5e10),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 33.3, "exponent": 0.317},
            "heldout": (5.5,),
            "seeds": (0,),
            "max_epochs": 6.0,
            "law": "",
            "noise": 0.02,  # standard errors of 1,900 texts are 2 to 3%
            "metrics": ("accuracy",),
            "bar": {"accuracy": 0.76},
        }
    )
