"""Which lecturer a student has had, by two towers: loss against parameters and interactions.

    python -m scaling.study --config=configs/studies/two_tower.py --workdir=studies/lecturers

Laws are of the cross-entropy over all lecturers; forecasts of NDCG@10 and recall@10 are sealed
besides.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "two_tower",
            "experiment": "configs/two_tower.py",
            "sizes": (2, 3, 4, 6, 8, 12, 16, 24, 32),
            "budgets": (5e9, 1e10, 2e10, 4e10),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.296, "exponent": 0.45},
            "heldout": (2.0,),
            "seeds": (0,),
            "max_epochs": 20.0,
            "law": "",
            "noise": 0.0,
            "metrics": ("ndcg@10", "recall@10"),
            "bar": {"recall@10": 0.24},
        }
    )
