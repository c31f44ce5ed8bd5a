"""Writes the report of a study: `python -m scaling.report --workdir=studies/demo`."""

from absl import flags

from train.cli import InputError, define_path, run_main


def main() -> None:
    """Writes the report of the flags' folder and prints where it is."""
    if not flags.FLAGS.workdir:
        raise InputError("--workdir: missing; the folder of a study, with its plan.json")
    from scaling import report
    from train.cache import use_cache

    use_cache()
    print(report.write(flags.FLAGS.workdir, flags.FLAGS.out))


if __name__ == "__main__":
    define_path("workdir", None, "The study's folder, with plan.json.")
    define_path("out", None, "The page (default: report.html in the study's folder).")
    run_main(main)
