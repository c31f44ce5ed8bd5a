"""The persistent compilation cache: a program compiled once on a machine is not compiled again."""

import os
from pathlib import Path

import jax


def use_cache() -> None:
    """Turns the cache on, in $ALLOMETRY_CACHE (default ~/.cache/allometry), for this process."""
    root = os.environ.get("ALLOMETRY_CACHE") or Path.home() / ".cache" / "allometry"
    jax.config.update("jax_compilation_cache_dir", str(Path(root) / "xla"))
    # By default only slow compiles are kept; a study is made of many quick ones.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
