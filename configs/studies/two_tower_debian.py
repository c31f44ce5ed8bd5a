"""What else a package depends on, by two towers: loss against parameters and interactions.

    python -m scaling.study --config=configs/studies/two_tower_debian.py --workdir=studies/packages

Laws are of the cross-entropy over all dependencies; forecasts of NDCG@10 and recall@10 are sealed
besides.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "two_tower_debian",
            "experiment": "configs/two_tower_debian.py",
            "sizes": (4, 6, 8, 12, 16, 24, 32, 48, 64),
            "budgets": (2e10, 4e10, 8e10, 1.6e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.93, "exponent": 0.45},
            "heldout": (2.0,),
            "seeds": (0,),
            "max_epochs": 10.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("ndcg@10", "recall@10"),
            "bar": {},
        }
    )
