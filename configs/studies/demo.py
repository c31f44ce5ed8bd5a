"""The demo: a byte-level GPT on the embedded corpus, from a plan to a scored forecast.

    make demo

About 10 minutes on 2 CPU cores. Four budgets over 1.5 decades, five sizes each, and one held-out
run of four times the largest budget.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The study."""
    return ConfigDict(
        {
            "name": "demo",
            "experiment": "configs/gpt.py",
            "sizes": (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128),
            "budgets": (1e10, 3.2e10, 1e11, 3.2e11),
            "sizes_per_budget": 5,
            "prior": {"coefficient": 0.09, "exponent": 0.48},
            "heldout": (4.0,),
            "seeds": (0,),
            "max_epochs": 1.0,
            "law": "",
            "noise": 0.007,  # seeds differ by .5 to 1%, see LOG.md
        }
    )
