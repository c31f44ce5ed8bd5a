"""What every peer does when it is told to: take steps for some seconds, and say how long they took.

Standard library alone, as a peer may live in an environment of its own.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

Asked = dict[str, int]  # what a peer is to train: vocab, layers, width, heads, batch, length


def asked() -> Asked:
    """The shapes that a peer was started with."""
    return json.loads(sys.argv[1])


def serve(parameters: int, calls: Callable[[], Any], wait: Callable[[Any], None], steps: int = 1):
    """Answers each line of the input, some seconds, by a line of JSON, until the input ends.

    Args:
      parameters: of the model, said once at the start, when all is compiled.
      calls: gives work to the device, `steps` training steps a call.
      wait: for what it gave.
      steps: in one call.
    """
    for _ in range(3):
        wait(calls())
    print(json.dumps({"N": parameters}), flush=True)
    for line in sys.stdin:
        taken, begin, used = 0, time.perf_counter(), _used()
        # At least once: a process may not get a core before the time is up.
        while not taken or time.perf_counter() < begin + float(line):
            wait(calls())
            taken += steps
        wall, (cpu, faults) = time.perf_counter() - begin, (a - b for a, b in zip(_used(), used))
        each = {"wall": wall / taken, "cpu": cpu / taken, "faults": faults / taken}
        print(json.dumps(each), flush=True)


def _used() -> tuple[float, float]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_minflt
