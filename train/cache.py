"""The persistent compilation cache: a program compiled once on a machine is not compiled again."""

import functools
import os
import re
import sys

import jax

from data.sources.cache import folder


@functools.cache  # one warning a process
def use_cache() -> None:
    """Turns the cache on for this process, beside what `data.sources.cache` keeps.

    It is a convenience: where there is no such folder and none can be made, all is compiled anew.
    So it is where the CPU is told to be several devices: of a program from the cache they may start
    collectives in orders of their own, and wait for each other for good.
    """
    told = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
    if max(jax.config.jax_num_cpu_devices, int(told[1]) if told else 1) > 1:
        return
    try:
        programs = folder() / "xla"
        programs.mkdir(parents=True, exist_ok=True)
        if not os.access(programs, os.W_OK | os.X_OK):
            raise OSError(f"{programs} cannot be written")
    except OSError as error:
        print(f"warning: no compilation cache in $ALLOMETRY_CACHE: {error}", file=sys.stderr)
        return
    jax.config.update("jax_compilation_cache_dir", str(programs))
    # By default only slow compiles are kept; a study is made of many quick ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
