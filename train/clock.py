"""Where the wall time of a run goes, over all of its calls."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping


class Clock:
    """Seconds by kind; what is counted as no other kind is training."""

    def __init__(self):
        self._seconds: dict[str, float] = defaultdict(float)
        self._begin = time.monotonic()  # as if all calls were this one

    def go_on(self, earlier: Mapping[str, float]) -> None:
        """Adds what earlier calls came to, as `spent` gave it; {} where that is not known."""
        self._begin -= earlier.get("total", 0.0)
        for what in earlier.keys() - {"total"}:
            self._seconds[what] += earlier[what]

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Counts wall time as spent on `what`; a clock inside it counts for itself alone."""
        start, inside_before = time.monotonic(), sum(self._seconds.values())
        try:
            yield
        finally:
            inside = sum(self._seconds.values()) - inside_before
            self._seconds[what] += time.monotonic() - start - inside

    def spent(self) -> dict[str, float]:
        """Seconds of all calls so far, by kind and in total."""
        total = time.monotonic() - self._begin
        seconds = {"train": 0.0} | self._seconds
        seconds["train"] += total - sum(seconds.values())
        return seconds | {"total": total}
