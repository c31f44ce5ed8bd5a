"""Says how far a study has come, while it is trained or after: read from its plan and its runs.

    python -m scaling.status --workdir=studies/demo

It writes nothing and holds no lock, so it may be called beside a sweep, and on another machine that
sees the folder.
"""

from absl import flags

from train.cli import define_path, run_main


def main() -> None:
    """Does what the flags say."""
    from scaling.status import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    define_path("workdir", None, "The study's folder, with plan.json.")
    run_main(main)
