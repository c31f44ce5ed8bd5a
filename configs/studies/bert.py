"""A masked language model from a plan to a scored forecast: loss against size and tokens seen.

    python -m scaling.study --config=configs/studies/bert.py --workdir=studies/bert

About 5 minutes on 2 CPU cores. Fine-tuning of such runs: benchmarks/results/families/bert.md.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "bert",
            "experiment": "configs/bert.py",
            "sizes": (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64),
            "budgets": (3e10, 8e10, 2.1e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.3, "exponent": 0.415},
            "heldout": (3.0,),
            "seeds": (0,),
            "max_epochs": 1.0,
            "law": "",
            "noise": 0.01,
        }
    )
