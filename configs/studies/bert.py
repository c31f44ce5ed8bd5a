"""A masked language model from a plan to a scored forecast: loss against size and tokens seen.

    python -m scaling.plan     --config=configs/studies/bert.py --workdir=studies/bert
    python -m scaling.sweep    --workdir=studies/bert
    python -m scaling.forecast --workdir=studies/bert
    python -m scaling.sweep    --workdir=studies/bert --role=heldout
    python -m scaling.forecast --workdir=studies/bert --score

15 minutes on 2 CPU cores that others shared. scaling.study refuses these runs, which scatter too
much for a best size at each budget. Below 2e11 FLOPs a run is still about to learn that neighbours
matter, and no law of such runs foretells those that have (benchmarks/results/families/bert.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "bert",
            "experiment": "configs/bert.py",
            "sizes": (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64),
            "budgets": (2.1e11, 3.6e11, 6.2e11),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.3, "exponent": 0.415},
            "heldout": (2.5,),
            "seeds": (0,),
            "max_epochs": 1.0,
            "law": "",
            "noise": 0.01,
        }
    )
