"""Back-tests the default forecast on whole collections of runs: error, coverage, width, time.

    python -m scaling.backtest --runs='tables/*.csv' [--out=backtest.json]

A table with a column that says fit or heldout is forecast from the one to the other; one without is
cut by compute, its dearest fifth held out. No table sees another, and nothing is tuned to any.
A line a table goes to standard error, and --out is written after each. The exit code is 1 where any
table was refused or cannot be read; the others are forecast all the same.

Tables of one source err alike: the summary by source is of tables whose column `source` agrees, or
else whose names agree up to the first underscore.
"""

from absl import flags

from scaling.console import tables
from train.cli import define_path, run_main


def _define_flags() -> None:
    tables.define_flags("CSV of runs, or a pattern for many.")
    flags.DEFINE_string(
        "law", None, "A law to use for all; default by back-test within each table."
    )
    define_path("out", None, "JSON file for the results.")


def main() -> int:
    """Does what the flags say."""
    from scaling.backtest import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    _define_flags()
    run_main(main)
