"""Plans a study: which runs, of what size, on how much data, at what cost, before any is trained.

    python -m scaling.plan --config=configs/studies/demo.py --workdir=studies/demo
    python -m scaling.plan --config=... --workdir=... --money=500 --device=h100
    python -m scaling.plan --config=... --workdir=... --topology=v5e:2x4
    python -m scaling.plan --config=... --workdir=... --points=design.csv
    python -m scaling.plan --config=configs/studies/gpt_large.py --workdir=studies/large \\
        --device=h100 --devices=8 --days=14 --unique=2e10

An IsoFLOP design (Hoffmann et al. 2022, approach 2): for each budget the sizes of the ladder
nearest to the expected optimum, each trained on what the budget then buys, and held-out runs beyond
the largest budget that no law will see. The plan is `plan.json`; the same config gives the same
file, bit for bit. A budget for the whole study (FLOPs, device-hours or money) scales those of its
config. Where the config names a law to expect, studies are simulated from it, and the plan says
how sure the real one will be. With a topology, the steps of the runs are compiled for such TPUs,
which need not be here (scaling.plan.hbm); the exit code is 1 if a run does not fit their memory.

With a budget, devices and a law to expect, the plan is also said in words: which small runs first,
which model then, whether it fits, what loss, what would change the answer. --unique is how many
training units there are before they repeat, for data that is not here yet.
"""

from absl import flags
from ml_collections import config_flags

from scaling.console import budget
from train.cli import define_path, run_main
from train.compile import topology


def main() -> int:
    """Does what the flags say."""
    if flags.FLAGS.topology:
        topology.only_compile()
    from scaling.plan import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string="The study.", lock_config=True)
    define_path("workdir", None, "The study's folder; plan.json is written there.")
    flags.DEFINE_float("unique", None, "Training units that the data will have, which is not here.")
    define_path("points", None, "CSV of N and D: the runs to fit, e.g. of scaling.design.")
    flags.DEFINE_string("topology", None, "TPUs that the runs must fit, e.g. v5e:2x4.")
    budget.define_flags()
    budget.define_budget_flags()
    run_main(main)
