"""What a gpt that has read English is worth on documentation: effective data transferred.

    python -m benchmarks.transfer --workdir=studies/transfer [--widths=16,32,48] [--before=1e6]

The embedded corpus comes first, then what scipy's own modules say of themselves (docstrings of the
installed package, a document a module): each width is trained on the first once, and on the second
from nothing and from there, one pass of each amount, by the recipe of configs/gpt.py throughout.
Runs that are there are not trained again, so widths may be given to several processes.

Leaves runs.csv (start_D: bytes read before, 0 = none), for the law `effective_data`, and, once all
widths are there, transferred.csv, for `transferred`: D_T is how many bytes more a run from nothing
needs for the loss of one that was begun, along the line between the two runs of the same size
around it; `beyond` says that none was as good, and the last two are gone on with.
"""

import ast
import dataclasses
import json
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import flags
from rich.console import Console

from configs import gpt
from scaling.console.printed import show, table
from train import cache, record, run
from train import config as configuration
from train.cli import InputError, define_path, numbers, run_main

PACKAGE = "scipy"
EVAL_TOKENS = 131_072


def docstrings(root: Path) -> Iterator[tuple[str, str]]:
    """Of each module of a package, but for its tests, the name and its docstrings as one text."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in sorted(root.rglob("*.py")):
        if "tests" in path.parts:
            continue
        nodes = ast.walk(ast.parse(path.read_bytes()))
        found = filter(None, (ast.get_docstring(n) for n in nodes if isinstance(n, kinds)))
        text = "\n\n".join(found)
        if text:
            yield path.relative_to(root).as_posix(), text


def _texts(workdir: Path) -> Path:
    """The folder of the second texts, which is written once."""
    folder = workdir / f"{PACKAGE}-{metadata.version(PACKAGE)}"
    if not folder.exists():
        (place,) = find_spec(PACKAGE).submodule_search_locations
        lines = [json.dumps({"text": text}) for _, text in docstrings(Path(place))]
        record.save_text(folder / "docstrings.jsonl", "\n".join(lines) + "\n")
    return folder


def _config(width: int, tokens: float, source: str, start: Path | None) -> Any:
    config = gpt.recipe(width, tokens)
    config.steps = round(tokens / (config.batch_size * config.data.sequence_length))
    config.data.update(source=source, eval_tokens=EVAL_TOKENS)
    config.checkpoint.every = 0
    values = config.to_dict()
    if start is not None:
        values["start"] = dataclasses.asdict(configuration.NO_START) | {"run": str(start)}
    return configuration.resolve(values)


def _row(found: record.Record, width: int) -> dict[str, Any]:
    return {
        "run": found.run,
        "status": found.status,
        "width": width,
        "N": found.N["total"],
        "D": found.D,
        "C": found.C["forward"],
        "loss": found.loss,
        "loss_se": found.loss_se,
        "start_D": found.start["D"] if found.start else 0,
        "first_loss": found.evaluations[0]["metrics"]["loss"][0] if found.start else None,
        "seconds": found.seconds["total"],
    }


def rows(
    workdir: Path, widths: list[int], before: float, amounts: list[float]
) -> list[dict[str, Any]]:
    """Trains what is not there yet; a row of each run on the second texts."""
    texts, made = f"folder:{_texts(workdir)}", []
    for width in widths:
        english = workdir / f"english-{width}"
        run.run(_config(width, before, "embedded", None), english)
        for tokens in amounts:
            for kind, start in (("scratch", None), ("begun", english)):
                if start and tokens == max(amounts):  # to see how far the others have come
                    continue
                folder = workdir / f"{kind}-{width}-{tokens:g}"
                found = run.run(_config(width, tokens, texts, start), folder)
                made.append(_row(found, width))
                print(f"{found.run}: {found.loss:.4f}", flush=True)
    return made


def transferred(runs: pd.DataFrame) -> pd.DataFrame:
    """Of runs that were begun, D_T by those from nothing of the same N, and whether it lies
    `beyond` them; those that were no better than from nothing have none and are left out."""
    made = []
    for _, own in runs.groupby("N"):
        plain = own[own.start_D == 0].sort_values("D")
        losses, amounts = np.log(plain.loss.to_numpy()), np.log(plain.D.to_numpy())
        for _, one in own[own.start_D > 0].iterrows():
            aim = np.log(one.loss)
            # The last run from nothing that is not yet as good; a line through it and the next.
            place = int(np.clip(np.sum(losses > aim) - 1, 0, len(losses) - 2))
            slope = (amounts[place + 1] - amounts[place]) / (losses[place + 1] - losses[place])
            data = np.exp(amounts[place] + slope * (aim - losses[place]))
            if data > one.D:
                told = {"D_T": data - one.D, "beyond": bool(aim < losses[-1])}
                made.append({**one[["run", "N", "D", "loss"]], **told})
    return pd.DataFrame(made)


def main() -> int:
    """Trains, writes the tables and prints them."""
    given = flags.FLAGS
    if not given.workdir:
        raise InputError("--workdir: missing; give a folder")
    workdir = Path(given.workdir)
    widths = [round(width) for width in numbers("widths", given.widths)]
    cache.use_cache()
    (before,) = numbers("before", [given.before])
    made = rows(workdir, widths, before, numbers("tokens", given.tokens))
    path = workdir / "runs.csv"
    kept = [r for r in _read(path) if r["run"] not in {one["run"] for one in made}]
    runs = pd.DataFrame([*kept, *made]).sort_values(["N", "start_D", "D"])
    record.save_text(path, runs.to_csv(index=False))
    worth = transferred(runs)
    record.save_text(workdir / "transferred.csv", worth.to_csv(index=False))
    shown = table("", "N", "D", "loss", "D_T", "beyond")
    for _, one in worth.iterrows():
        cells = (f"{one.N:,.0f}", f"{one.D:,.0f}", f"{one.loss:.4f}", f"{one.D_T:,.0f}")
        shown.add_row(*cells, "yes" if one.beyond else "")
    show(Console(width=100), shown)
    return 0


def _read(path: Path) -> list[dict[str, Any]]:
    return pd.read_csv(path).to_dict("records") if path.exists() else []


if __name__ == "__main__":
    define_path("workdir", None, "The study's folder.")
    flags.DEFINE_list("widths", ["16", "32", "48"], "Widths of the gpt ladder.")
    flags.DEFINE_string("before", "1e6", "Tokens of English.")
    flags.DEFINE_list(
        "tokens", ["2e4", "8e4", "3.2e5", "1.28e6"], "Of one pass; the last: from nothing alone."
    )
    run_main(main)
