"""The flags of where runs are trained, the same for all that sweep."""

from typing import Any

from absl import flags

from scaling.sweep import HANG_MINUTES
from train.cli import InputError

# Flags defined here are then those of the entry point, which --help lists.
flags.disclaim_key_flags()


def define_flags() -> None:
    """Defines the flags of where runs are trained, the same for all that sweep."""
    flags.DEFINE_enum("executor", "local", ["local", "ray"], "This machine, or a cluster on Ray.")
    flags.DEFINE_integer(
        "workers",
        0,
        "Most runs at a time; 0 = on this machine one a core on CPU and one on accelerators, on a"
        " cluster all it has room for.",
        0,
    )
    flags.DEFINE_string("address", None, "Ray: the cluster's host:port; by default the one here.")
    flags.DEFINE_integer("cpus_per_run", None, "Ray: cores that each run takes; by default 1.", 1)
    flags.DEFINE_integer(
        "gpus_per_run",
        None,
        "Ray: GPUs that each run takes; by default 1 where the cluster has any, 0 where not.",
        0,
    )
    flags.DEFINE_enum("retry", None, ["failed"], "failed: also those that are recorded as failed.")
    flags.DEFINE_float(
        "hang_minutes",
        HANG_MINUTES,
        "Minutes without a step, or without work before the first one, after which a worker is"
        " killed and its run is tried again.",
        1e-3,
    )


def flag_values() -> dict[str, Any]:
    """The flags of `define_flags` as arguments of `sweep`. Raises InputError if they contradict."""
    from scaling.sweep.cluster import Cluster

    names = ("address", "cpus_per_run", "gpus_per_run")
    given = {name: flags.FLAGS[name].value for name in names if flags.FLAGS[name].present}
    on_ray = flags.FLAGS.executor == "ray"
    for name, value in given.items():
        if not on_ray:
            raise InputError(f"--{name}: {value}; only with --executor=ray")
    return {
        "workers": flags.FLAGS.workers,
        "cluster": Cluster(**given) if on_ray else None,
        "retry_failed": flags.FLAGS.retry == "failed",
        "hang_minutes": flags.FLAGS.hang_minutes,
    }
