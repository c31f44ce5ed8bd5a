"""Lists the laws for a person to read, without what fits them."""

from typing import Any

from rich.markup import escape

from scaling.console.printed import console, show, table
from scaling.laws import LAWS, PUBLISHED
from scaling.runs import LOGGED
from scaling.runs.numbers import plain


def run(_: Any) -> None:
    """Entry point: lists the laws and the published parameter sets."""
    on = console()
    laws = table("Laws", "name", "formula", "columns", "source")
    for law in LAWS.values():
        formula = f"{law.target} = {law.formula}"
        columns = LOGGED[:-1] if law.schedules else law.columns
        laws.add_row(law.name, escape(formula), " ".join(columns), escape(law.source))
    show(on, laws)
    on.print(
        "Laws that read schedule, step and lr: one row a logged step; without a column schedule "
        "each file is one (--runs='curves/*.csv'). Give --warmup in steps.",
        highlight=False,
    )
    published = table("Published parameters", "name", "law", "parameters", "source")
    for name, entry in PUBLISHED.items():
        values = " ".join(f"{key}={plain(value)}" for key, value in entry.params.items())
        published.add_row(name, entry.law, values, escape(entry.source))
    show(on, published)
