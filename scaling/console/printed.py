"""Tables for people at any width: lines break between words, and no number is ever cut."""

import os

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NO_EDGE = 160  # columns where nothing limits them
_BETWEEN = 3  # cells between columns, by the box below


def console() -> Console:
    """The standard output, as wide as its terminal; a file or a pipe has no edge."""
    made = Console()
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _NO_EDGE
    return made


def table(title: str, *columns: str) -> Table:
    """An empty table, its first column flush left."""
    made = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place == 0 else "right")
    return made


def show(on: Console, made: Table) -> None:
    """Prints a table whose cells are marked-up text; as a list where its words do not fit."""
    columns = [[_plain(column.header), *map(_plain, column.cells)] for column in made.columns]
    least = [max(cell_len(w) for cell in c for w in (cell.split() or [""])) for c in columns]
    spare = on.width - sum(least) - _BETWEEN * len(columns) + 1
    if spare < 0:
        _list(on, made, columns)
        return
    for column, cells, width in zip(made.columns, columns, least):
        more = min(max(map(cell_len, cells)) - width, spare)
        column.width, spare = width + more, spare - more
    on.print(made)


def _list(on: Console, made: Table, columns: list[list[str]]) -> None:
    if made.title:
        on.print(made.title, style="bold", highlight=False, markup=False)
    for row in zip(*(cells[1:] for cells in columns)):
        # The first filled cell names the row, the rest follow it.
        for place, cell in enumerate(row):
            if cell:
                name = columns[place][0]
                words = f"{name}: {cell}" if name else cell
                indent = "  " if place else ""
                on.print(f"{indent}{words}", highlight=False, markup=False)


def _plain(cell) -> str:
    return Text.from_markup(cell).plain if isinstance(cell, str) else str(cell)
