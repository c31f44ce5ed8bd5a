"""How to spend a training budget: N*, D* and the loss, how sure they are, and what else it costs.

    python -m scaling.allocate --law=hoffmann2022_a3 --C=1e21
    python -m scaling.allocate --runs=my.csv --C=1e20,1e21 --device=h100
    python -m scaling.allocate --law=law.json --C=1e21 --serve_tokens=1e13
    python -m scaling.allocate --law=hoffmann2022_a3 --C=1e24 --unique_tokens=2e11

With runs, all three approaches of Hoffmann et al. 2022 are shown that the runs can carry, the law
that does best in a back-test, and the average of laws that a forecast would take. Intervals are of
the optimum's estimate, not of a run's loss: for that see scaling.forecast.
"""

from absl import flags

from scaling.console import budget, tables
from train.cli import SEED, define_path, run_main


def _define_flags() -> None:
    budget.define_flags()
    budget.define_budget_flags()
    flags.DEFINE_list("C", [], "The budget in training FLOPs as well, or several with commas.")
    define_path("law", None, "Published law, law.json, or with --runs the name of a law.")
    flags.DEFINE_float("serve_tokens", None, "Tokens to be served over the model's life.")
    flags.DEFINE_float("unique_tokens", None, "Training tokens there are without repeating any.")
    define_path("out", None, "JSON file for the result.")
    flags.DEFINE_integer("seed", 0, "Seed of the resamples.", **SEED)
    tables.define_flags()


def main() -> None:
    """Does what the flags say."""
    from scaling.allocate import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    _define_flags()
    run_main(main)
