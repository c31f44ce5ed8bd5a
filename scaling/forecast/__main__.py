"""Forecasts the loss of runs that were not trained yet, with calibrated intervals.

    python -m scaling.forecast --runs=my.csv --N=7e9 --D=1.4e11
    python -m scaling.forecast --law=law.json --N=7e9 --D=1.4e11           a fitted law, no runs
    python -m scaling.forecast --law=hoffmann2022_a3 --N=7e9 --D=1.4e11    a published law, no data
    python -m scaling.forecast --runs=my.csv --law=data_constrained --unique=1e10 --N=7e9 --D=1.4e11
    python -m scaling.forecast --workdir=DIR [--law=NAME]   seals DIR/forecast.json, once
    python -m scaling.forecast --workdir=DIR --score        scores it

With no law named, four laws are back-tested on the runs and averaged by how well each forecast the
larger of them from the smaller; the interval comes from the same back-test
(scaling.forecast.calibration). Runs that no law explains and that a reason exists for are left out
and named (scaling.forecast.illtrained).
"""

from absl import flags

from scaling.console import tables
from train.cli import define_path, run_main


def _define_flags() -> None:
    tables.define_flags()
    flags.DEFINE_list("N", [], "Parameters of the targets.")
    flags.DEFINE_list("D", [], "Training examples of the targets.")
    flags.DEFINE_list(
        "C", [], "Training FLOPs of the targets; default as the runs' C / (N D) says."
    )
    flags.DEFINE_list(
        "unique", [], "Unique training examples of the targets; where D is more they repeat."
    )
    define_path("law", None, "A law's name, a law.json, or a published law; default by back-test.")
    define_path("out", None, "JSON file for the forecast.")
    define_path("workdir", None, "Folder of a study: seal the forecast of its held-out runs.")
    flags.DEFINE_bool("score", False, "With --workdir: score the sealed forecast.")
    flags.DEFINE_bool(
        "allow_missing", False, "With --workdir: seal though runs to fit are missing."
    )


def main() -> None:
    """Does what the flags say."""
    from scaling.forecast import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    _define_flags()
    run_main(main)
