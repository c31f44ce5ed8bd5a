"""What `python -m train.examine` does with its flags."""

from typing import Any

from train import cache, record, saved, workdir
from train.examine import again, examples, show, slices


def run(given: Any) -> int:
    """Entry point: evaluates a run again. Gives the exit code."""
    folder = saved.folder(given.workdir)
    cache.use_cache()
    with workdir.locked(folder):
        found = again.evaluate(folder, given.step, given.slices, given.rows)
        verdict = again.compare(found.metrics, again.known(folder, found.step))
        show.show_metrics(found, verdict)
        if given.slices:
            column = found.columns[given.slices]
            parts = slices.by(given.slices, column, found.facts, found.sums, found.units)
            show.show_slices(given.slices, parts)
        if given.rows:
            path = folder / "examples.jsonl"
            lines = examples.lines(found, given.rows)
            record.save_text(path, "".join(lines))
            print(f"{path}: {len(lines)} rows")
    return 1 if verdict.differing else 0
