"""A page of what a run found, for people to look at: one HTML file, which asks for nothing else.

What a task wants drawn is in its `show`. Pictures are PNG, or films GIF, in the file itself; boxes
lie over them as SVG. Whatever comes from a file is a stranger's text, and is escaped.
"""

import base64
import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from train import png, tasks
from train.cli import InputError
from train.examine.again import Evaluated
from train.tasks import Picture, Section

MOST = 10_000  # rows that a task sees, of which it draws some
_WIDE = 192  # pixels of a screen that a picture has, at least
_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid #8884 }
th:first-child, td:first-child { text-align: left }
.wide { overflow-x: auto }
.pictures { display: flex; flex-wrap: wrap; gap: .9rem }
figure { margin: 0; width: min-content } figcaption { font-size: .8rem; overflow-wrap: anywhere }
svg { display: block; image-rendering: pixelated; background: #888 }
svg image { image-rendering: pixelated }
rect { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke }
rect.there { stroke: #fff; stroke-dasharray: 4 3 } rect.right { stroke: #19c37d }
rect.wrong { stroke: #ff4d4d }
"""


def check(task: str) -> None:
    """Raises InputError where a task has nothing to draw."""
    if tasks.load(task).show is None:
        raise InputError(
            f"--report: task {task!r} draws nothing; without it rows are written still"
        )


def page(found: Evaluated, title: str) -> str:
    """The whole page.

    Args:
      found: of a run whose task has a `show`; of its rows the first are drawn from, see `MOST`.
      title: of the page.
    """
    n = len(found.inputs["weight"])
    real = np.flatnonzero(found.units[:n] > 0)
    inputs = {name: x[real] for name, x in found.inputs.items()}
    kept = {name: x[real] for name, x in found.kept.items()}
    task = found.config.task
    sections = tasks.load(task.name).show(task.config, inputs, kept, found.facts)
    rows = [[name, f"{x:.6g}", _error(error)] for name, (x, error) in found.metrics.items()]
    body = _table(("metric", "value", "+-"), rows) + "".join(map(_section, sections))
    head = f"{found.config.model.name}, step {found.step:,} of {found.config.steps:,}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{_text(title)}</h1><p>{_text(head)}; {len(real):,} rows are drawn from</p>\n"
        f"{body}</body></html>\n"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _error(error: float | None) -> str:
    return "" if error is None else f"{error:.2g}"


def _section(section: Section) -> str:
    parts = [f"<h2>{_text(section.title)}</h2>"]
    if section.note:
        parts.append(f"<p>{_text(section.note)}</p>")
    if section.table:
        parts.append(_table(*section.table))
    if section.pictures:
        parts.append(f'<div class="pictures">{"".join(map(_figure, section.pictures))}</div>')
    return "\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in columns)
    lines = ("".join(f"<td>{_text(cell)}</td>" for cell in row) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
        "</div>\n"
    )


def _figure(picture: Picture) -> str:
    height, width = picture.pixels.shape[:2]
    times = max(1, -(-_WIDE // width)) if picture.boxes else max(1, 96 // width)
    kind, content = ("gif", picture.gif) if picture.gif else ("png", png.content(picture.pixels))
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    boxes = []
    for box in picture.boxes:
        left, top, right, bottom = (round(float(x), 2) for x in box.corners)
        boxes.append(
            f'<rect class="{_text(box.kind)}" x="{left}" y="{top}" width="{right - left:.2f}" '
            f'height="{bottom - top:.2f}"><title>{_text(box.name)}</title></rect>'
        )
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" width="{width * times}" '
        f'height="{height * times}" role="img" aria-label="{_text(picture.caption)}">'
        f'<image width="{width}" height="{height}" href="{address}"/>{"".join(boxes)}</svg>'
        f"<figcaption>{_text(picture.caption)}</figcaption></figure>\n"
    )
