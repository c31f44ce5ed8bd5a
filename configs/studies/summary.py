"""Summaries from a plan to a scored forecast: first lines of docstrings, and one run to foretell.

    python -m scaling.study --config=configs/studies/summary.py --workdir=studies/summary

17 minutes on 2 cores that others used too; the forecast of the loss erred by .5%. The law is of the
loss per target token, on modules that no run was trained on; ROUGE-L of what is written is forecast
beside it (benchmarks/results/families/summary.md).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "summary",
            "experiment": "configs/summary.py",
            "sizes": (12, 16, 24, 32, 40, 48, 64, 80, 96),
            "budgets": (3e11, 6e11, 1.2e12),
            "sizes_per_budget": 4,
            "prior": {"coefficient": 0.42, "exponent": 0.45},
            "heldout": (2.5,),
            "seeds": (0,),
            "max_epochs": 6.0,
            "law": "",
            "noise": 0.01,
            "metrics": ("rouge_l",),
            "bar": {"rouge_l": 0.25},
        }
    )
