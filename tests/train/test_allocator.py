"""Memory that is freed stays with the process."""

import os
import subprocess
import sys

import pytest

from train import allocator

# Faults of the system while 32 MB are taken, written and freed again, ten times, on a thread too.
TAKE = """
import resource, sys, threading
from train import allocator
{how}
def take():
    for _ in range(11):
        room = bytearray(32 << 20)
        yield room[::4096] and resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        del room
found = list(take())
thread = threading.Thread(target=lambda: found.extend(take()))
thread.start()
thread.join()
print(found[10] - found[0], found[21] - found[11])
"""


def faults(how: str, **variables: str) -> list[int]:
    named = [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]
    clean = {name: x for name, x in os.environ.items() if name not in named}
    command = [sys.executable, "-c", TAKE.format(how=how)]
    done = subprocess.run(command, env=clean | variables, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return [int(x) for x in done.stdout.split()]


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc"
)
def test_what_is_freed_is_not_mapped_again():
    each = 10 * (32 << 20) // os.sysconf("SC_PAGE_SIZE")  # of every page of ten pieces
    kept = "assert allocator.keep_memory()"
    assert min(faults("")) > each / 1024  # even where pages are huge
    assert max(faults(kept, JAX_PLATFORMS="cpu")) < 100
    assert max(faults("", **allocator.environment())) < 100


def test_the_environment_has_the_last_word(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "4096")
    assert not allocator.keep_memory()


def test_a_host_of_accelerators_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.metadata, "entry_points", lambda group: [group])
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert not allocator.keep_memory()
