"""Drawings told apart: contrastive entropy against parameters and pairs of emoji.

python -m scaling.study --config=configs/studies/embedder.py --workdir=studies/embedder
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "embedder",
            "experiment": "configs/embedder.py",
            "sizes": (3, 4, 5, 6, 8),
            "budgets": (2e10, 6.3e10, 2e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 1700.0, "exponent": 0.1},
            "heldout": (3.0,),
            "seeds": (0,),
            "max_epochs": 400.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("recall_at_1",),
            "bar": {"recall_at_1": 0.65},
        }
    )
