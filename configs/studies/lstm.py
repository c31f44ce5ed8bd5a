"""A recurrent language model from a plan to a scored forecast, on the data and budgets of the demo.

    python -m scaling.study --config=configs/studies/lstm.py --workdir=studies/lstm

19 minutes on 2 CPU cores that others shared. `python -m benchmarks.beside` holds its law against
that of the demo's gpt.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "lstm",
            "experiment": "configs/lstm.py",
            "sizes": (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128),
            "budgets": (1e10, 3.2e10, 1e11, 3.2e11),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 0.09, "exponent": 0.48},
            "heldout": (4.0,),
            "seeds": (0,),
            "max_epochs": 1.0,
            "law": "",
            "noise": 0.007,  # as in the demo
        }
    )
