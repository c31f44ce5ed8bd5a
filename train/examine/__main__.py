"""Evaluates a run again from a checkpoint, by parts of its evaluation set, and writes rows to read.

    python -m train.examine --workdir=runs/first [--slices=label] [--step=500] [--rows=100]
        [--report]

Prints every metric with its standard error and says whether it is that of the run's record. With
--slices each value of a column of the data, or of what the task keeps of a row, is told apart.
examples.jsonl, in the run's folder, gets the first rows: what went in, what came out, its losses.
With --report examples.html shows what the run found: pictures with boxes, mistakes.

Exit codes: 0 done, 1 the metrics are not those of the record, 2 bad input.
"""

from absl import flags

from train.cli import define_path, run_main


def main() -> int:
    """Does what the flags say."""
    from train.examine import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    define_path("workdir", None, "The run's folder.")
    flags.DEFINE_integer("step", 0, "Of the checkpoint; 0 = the newest.", 0)
    flags.DEFINE_string("slices", None, "A column that says which part of the set a row is of.")
    flags.DEFINE_integer("rows", 100, "Rows that examples.jsonl gets; 0 = none is written.", 0)
    flags.DEFINE_bool("report", False, "Write examples.html, a page of what the task has to show.")
    run_main(main)
