"""Writes the report of a study from its files: `python -m scaling.report --study=studies/demo`."""

from absl import flags

from train.cli import InputError, run_main


def main() -> None:
    """Writes the report of the flags' study and prints where it is."""
    if not flags.FLAGS.study:
        raise InputError("--study: missing; the folder of a study, with its plan.json")
    from scaling import report

    print(report.write(flags.FLAGS.study, flags.FLAGS.out))


if __name__ == "__main__":
    flags.DEFINE_string("study", None, "The study's folder, with plan.json.")
    flags.DEFINE_string("out", None, "The page (default: report.html in the study's folder).")
    run_main(main)
