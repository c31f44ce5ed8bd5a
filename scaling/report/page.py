"""The shell of a page: one file with its style, its script and its figures, and no outside request.

Whatever comes from a file is a stranger's text: `table` and `section` escape it, and every piece of
HTML that is not made here goes through `text`.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.report.drawing import Figure, plotly_script, to_html
from scaling.report.drawing_files import to_image
from train.cli import InputError
from train.record import save_text


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, and what its column is sorted by."""

    shown: str
    value: float | str | None = None
    title: str = ""  # shown when a pointer rests on it


def text(value: Any) -> str:
    """Any value as harmless HTML text."""
    return html.escape(str(value))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell | str]],
    classes: Sequence[str] = (),
    sortable: bool = False,
) -> str:
    """An HTML table; `classes` names the style of each row, "" for none."""
    rows = [list(row) for row in rows]
    right = {i for row in rows for i, cell in enumerate(row) if _is_numeric(cell)}
    style = [" class=number" if i in right else "" for i in range(len(columns))]
    head = "".join(f'<th scope="col"{s}>{text(c)}</th>' for s, c in zip(style, columns))
    lines = []
    for place, row in enumerate(rows):
        mark = f' class="{classes[place]}"' if place < len(classes) and classes[place] else ""
        lines.append(f"<tr{mark}>{''.join(map(_cell, row, style))}</tr>")
    kind = ' class="sortable"' if sortable else ""
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _is_numeric(cell: Cell | str) -> bool:
    return isinstance(cell, Cell) and isinstance(cell.value, (int, float))


def _cell(cell: Cell | str, style: str) -> str:
    cell = Cell(cell) if isinstance(cell, str) else cell
    value = "" if cell.value is None else f' data-value="{text(cell.value)}"'
    title = f' title="{text(cell.title)}"' if cell.title else ""
    return f"<td{value}{title}{style}>{text(cell.shown)}</td>"


def section(title: str, *parts: str) -> str:
    """A section with its heading; `parts` are HTML."""
    return f"<section><h2>{text(title)}</h2>\n{chr(10).join(p for p in parts if p)}\n</section>"


def paragraph(words: str, style: str = "") -> str:
    """A paragraph of plain words."""
    return f"<p{f' class={style}' if style else ''}>{text(words)}</p>"


def notes(sentences: Iterable[str], style: str = "warning") -> str:
    """A list of sentences; nothing if there are none."""
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{style}">{items}</ul>' if items else ""


def figure(name: str, figures: Mapping[str, Figure], caption: Mapping[str, str]) -> str:
    """The named figure with its caption, or nothing where there is no such figure.

    `caption` has sentences by the beginning of the name of the series that they tell of: what is
    not drawn is not spoken of. A sentence of "" is of the whole figure.
    """
    if name not in figures:
        return ""
    drawn = [series.name for series in figures[name].series]
    words = " ".join(
        sentence
        for mark, sentence in caption.items()
        if any(series.startswith(mark) for series in drawn)
    )
    links = " ".join(f'<a href="figures/{name}.{kind}">{kind}</a>' for kind in ("png", "svg"))
    return (
        f'<figure>{to_html(figures[name])}<figcaption>{text(words)} <span class="files">{links}'
        "</span></figcaption></figure>"
    )


def save(path: Path, title: str, body: str, figures: Mapping[str, Figure]) -> None:
    """Writes the page, and each figure as PNG and SVG to the folder `figures` beside it.

    Raises:
      InputError: one of them cannot be written.
    """
    whole = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n"
        f"</main>\n{plotly_script()}\n<script>{_SORT}</script>\n</body>\n</html>\n"
    )
    try:
        for name, drawn in figures.items():
            stem = path.parent / "figures" / name
            to_image(drawn, stem.with_suffix(".png"), stem.with_suffix(".svg"))
        save_text(path, whole)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


_STYLE = """
:root { --ink: #23272e; --soft: #626a75; --line: #e3e6ea; --back: #ffffff; --card: #f6f7f9;
  --good: #00734f; --bad: #b3261e; --badback: #fdecea; --accent: #0072b2; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #d8dce2; --soft: #98a1ad;
  --line: #32373f; --back: #15181c; --card: #1d2126; --good: #3fc592; --bad: #ff8a80;
  --badback: #3a1f1e; --accent: #6cb8e6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 40px 20px 80px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 8px; }
h2 { font-size: 20px; letter-spacing: -0.01em; margin: 56px 0 10px; padding-top: 14px;
  border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 26px 0 6px; }
p { margin: 8px 0; max-width: 76ch; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
.kicker { color: var(--soft); text-transform: uppercase; letter-spacing: 0.08em; font-size: 12px; }
.lead { font-size: 18px; line-height: 1.5; margin: 14px 0 22px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px;
  margin: 20px 0; }
.tile { background: var(--card); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 27px; font-weight: 650; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; display: block; }
.good b { color: var(--good); }
.bad b { color: var(--bad); }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr));
  gap: 12px 24px; }
.pair > * { min-width: 0; }
.uneven { grid-template-columns: minmax(0, 9fr) minmax(0, 5fr); }
.uneven > :only-child { grid-column: 1 / -1; }
@media (max-width: 820px) { .uneven { grid-template-columns: 1fr; } }
figure { margin: 18px 0; }
figure h3 { margin: 0; }
.figure { width: 100%; height: 430px; }
.pair .figure { height: 390px; }
@media (max-width: 500px) { .figure, .pair .figure { height: 480px; } }
figcaption { margin-top: 8px; color: var(--soft); font-size: 13px; max-width: 90ch; }
.files { white-space: nowrap; }
.wide { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 12.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; white-space: nowrap; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
th.number, td.number { text-align: right; }
.pair td { white-space: normal; overflow-wrap: anywhere; }
.sources td:first-child { white-space: normal; min-width: 20ch; }
.pair td:first-child { white-space: nowrap; }
.sortable th { cursor: pointer; user-select: none; }
.sortable th:hover { color: var(--ink); }
th[aria-sort=ascending]::after { content: " \\2191"; }
th[aria-sort=descending]::after { content: " \\2193"; }
tr.bad td { background: var(--badback); color: var(--bad); }
tr.bad td:nth-child(3) { white-space: normal; min-width: 22ch; }
tr.wait td { color: var(--soft); }
tr.heldout td { font-weight: 600; }
ul { margin: 10px 0; padding-left: 20px; max-width: 90ch; }
ul.warning li::marker { content: "!  "; color: var(--bad); font-weight: 700; }
.missing, .refused { color: var(--soft); background: var(--card); border-radius: 10px;
  padding: 10px 16px; }
code { font: 12.5px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
footer { margin-top: 60px; color: var(--soft); font-size: 13px; }
@media print {
  body { font-size: 12px; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; }
  h2 { margin-top: 28px; }
  figure, .tile, tr { break-inside: avoid; }
  .pair { display: block; }
  .figure, .pair .figure { height: 360px; }
  .wide { overflow: visible; }
  .wide table { font-size: 9px; }
  th, td { padding: 3px 8px 3px 0; white-space: normal; }
  .files { display: none; }
}
"""

_SORT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    head.onkeydown = event => event.key === "Enter" && head.click();
    head.onclick = () => sort(head, column);
  });
  const sort = (head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => {
      const cell = row.cells[column], value = cell.dataset.value ?? cell.textContent;
      return value !== "" && isFinite(value) ? Number(value) : value;
    };
    const compare = (a, b) => typeof a === typeof b
      ? (typeof a === "number" ? a - b : a.localeCompare(b)) : typeof a === "number" ? -1 : 1;
    const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(key(a), key(b)));
    body.append(...rows);
  };
}
"""
