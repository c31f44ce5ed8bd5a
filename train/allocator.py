"""The C library's allocator, told to keep what is freed for whoever asks next.

XLA:CPU takes the room of a program's temporaries anew at each call. glibc gives large pieces back
to the system when they are freed, so that every step begins with thousands of page faults: a fifth
to a third of its time from a width of 128 on (LOG.md, "Memory that stays").
"""

import ctypes
import os
from importlib import metadata

# By their names in the environment: mallopt's number of it (malloc.h), and its value. In the arenas
# of threads pieces of more than 64 MB are mapped all the same; not in one arena for all of them,
# which makes small steps slower.
_SETTINGS = {
    "MALLOC_MMAP_MAX_": (-4, 0),
    "MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1),
    "MALLOC_TOP_PAD_": (-2, 256 << 20),  # with less, a thread's heap that is empty is given back
}


def environment() -> dict[str, str]:
    """Variables by which a process that is yet to start does the same."""
    return {name: str(value) for name, (_, value) in _SETTINGS.items()}


def on_accelerator() -> bool:
    """Whether JAX would compute on one: it is not imported to be asked."""
    plugins = metadata.entry_points(group="jax_plugins")
    return bool(plugins) and os.environ.get("JAX_PLATFORMS") != "cpu"


def keep_memory() -> bool:
    """Tells it to this process, for as long as it lives; whether that was done.

    Not where there is an accelerator, whose programs take no room of the host; nor where the
    environment says how memory is to be allocated, or the C library is not glibc. To be called
    before JAX is asked for devices, which starts threads.
    """
    told = [*_SETTINGS, "GLIBC_TUNABLES"]
    if on_accelerator() or any(name in os.environ for name in told):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
        os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, OSError, ValueError):
        return False
    return all(mallopt(number, value) == 1 for number, value in _SETTINGS.values())
