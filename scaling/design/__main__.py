"""Compares designs of a study by what they will be able to say, before any compute is spent.

    python -m scaling.design --law=besiroglu2024 --flops=1e21 --target=1e23 --noise=0.003
    python -m scaling.design --law=law.json --money=500 --device=h100 --out=design.csv
    python -m scaling.design --next --runs=my.csv --flops=1e19 --target=1e21

Every design spends the same budget. From a prior law and the noise of one loss, studies are
simulated and refitted; the table shows the 90% width to expect of N*, of the exponent a of
N* ~ C^a and of the loss at the target.
"""

from absl import flags

from scaling.console import budget, tables
from scaling.design import BUDGETS, DECADES, SIZES, SPREADS, STUDIES
from train.cli import SEED, define_path, run_main


def _define_flags() -> None:
    budget.define_flags()
    budget.define_budget_flags()
    define_path("law", None, "Prior: a published law, a law.json, or with --runs a law's name.")
    flags.DEFINE_float("noise", None, "Relative noise of one loss; default the law's residuals.")
    flags.DEFINE_float("target", None, "Training FLOPs at which the law will be used.")
    flags.DEFINE_multi_integer("budgets", BUDGETS, "Budgets of the IsoFLOP grids.")
    flags.DEFINE_multi_integer("sizes", SIZES, "Sizes per budget of the IsoFLOP grids.")
    flags.DEFINE_multi_float("spread", SPREADS, "Largest factor from N* of the IsoFLOP grids.")
    flags.DEFINE_float("decades", DECADES, "Decades from the budget down to the cheapest run.")
    flags.DEFINE_integer(
        "count", None, "Runs of the other designs (25); with --next, new runs (1)."
    )
    flags.DEFINE_integer("studies", STUDIES, "Simulated studies a design.")
    flags.DEFINE_integer("seed", 0, "Seed of the simulation.", **SEED)
    flags.DEFINE_string(
        "choose", None, "Design to write; default the narrowest loss at the target."
    )
    define_path("out", None, "CSV or JSON file for the chosen design.")
    flags.DEFINE_bool("next", False, "Suggest the most informative next runs for --runs.")
    tables.define_flags()


def main() -> None:
    """Does what the flags say."""
    from scaling.design import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    _define_flags()
    run_main(main)
