"""What `python -m train.examine` does with its flags."""

from typing import Any

from train import cache, record, saved, workdir
from train.examine import again, examples, page, show, slices


def run(given: Any) -> int:
    """Entry point: evaluates a run again. Gives the exit code."""
    folder = saved.folder(given.workdir)
    cache.use_cache()
    with workdir.locked(folder):
        if given.report:
            page.check(workdir.read(folder)["config"]["task"]["name"])
        wanted = max(given.rows, page.MOST) if given.report else given.rows
        found = again.evaluate(folder, given.step, given.slices, wanted)
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
        if given.report:
            path = folder / "examples.html"
            record.save_text(path, page.page(found, folder.resolve().name))
            print(path)
    return 1 if verdict.differing else 0
