"""Compiles a run's training step for TPUs that are not here: does it fit, and what does it cost?

    python -m train.compile --config=configs/gpt.py --topology=v5e:2x4 --config.mesh.fsdp=8 \\
        --config.mesh.data=1

Needs libtpu (pip install 'jax[tpu]', of the same version) and no TPU. Exit codes: 0 it fits, 1 it
does not, 2 bad input.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from train.cli import CONFIG_HELP, InputError, config_values, define_path, run_main


def main() -> int:
    """Compiles for the topology of the flags and prints what it costs."""
    from train.compile.show import show

    values, name = config_values("configs/gpt.py"), flags.FLAGS.topology
    if not name:
        raise InputError("--topology: missing; give one, e.g. --topology=v5e:2x4")
    from train.compile import topology

    topology.only_compile()
    from train import config, record
    from train.compile import ahead

    report = ahead.compile_step(config.resolve(values), name, flags.FLAGS.slices)
    show(report)
    if flags.FLAGS.json:
        record.save_json(Path(flags.FLAGS.json), report.to_dict() | {"versions": record.versions()})
    return 0 if report.memory.fits else 1


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", help_string=CONFIG_HELP, lock_config=True)
    flags.DEFINE_string("topology", None, "What to compile for: KIND:AxB or KIND:AxBxC.")
    flags.DEFINE_integer("slices", 1, "How many such slices, joined by the slow network.")
    define_path("json", None, "Also write the report here.")
    run_main(main)
