"""The persistent compilation cache: a program compiled once on a machine is not compiled again."""

import functools
import os
import sys
from pathlib import Path

import jax


@functools.cache  # one warning a process
def use_cache() -> None:
    """Turns the cache on, in $ALLOMETRY_CACHE (default ~/.cache/allometry), for this process.

    It is a convenience: where there is no such folder and none can be made, all is compiled anew.
    """
    try:
        root = Path(os.environ.get("ALLOMETRY_CACHE") or "~/.cache/allometry").expanduser()
        folder = root / "xla"
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(f"{folder} cannot be written")
    except (OSError, RuntimeError) as error:  # the latter where there is no home
        print(
            f"warning: no compilation cache: {error}; set ALLOMETRY_CACHE to a folder of yours",
            file=sys.stderr,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default only slow compiles are kept; a study is made of many quick ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
