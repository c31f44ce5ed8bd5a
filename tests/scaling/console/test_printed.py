"""No number is cut at any width."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.markup import escape

from scaling.allocate import allocating
from scaling.allocate import show as allocate_print
from scaling.console.printed import console, show, table
from scaling.fit.ready import published
from scaling.forecast.forecasting import forecast_by
from scaling.forecast.show import print_forecast
from scaling.plan import prices
from scaling.sweep.progress import SweepProgress


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 80, 120])
def test_every_word_of_a_table_is_whole_at_every_width(width):
    made = table("Runs of the study", "", "N*", "loss", "of the largest runs")
    cells = [
        ("fit-c1.00e17-n64-s0", "1.25B [1.03B, 1.56B]", "2.3061", "+25.9% (2.59e+20)"),
        ("held [out]", "999,999,999,999", "", "-0.001%"),
    ]
    for row in cells:
        made.add_row(*map(escape, row))
    on = Console(width=width)
    with on.capture() as captured:
        show(on, made)
    shown = captured.get()
    assert max(map(len, shown.splitlines())) <= width
    words = set(shown.split())
    for cell in (cell for row in cells for cell in row):
        assert set(cell.split()) <= words


def test_a_pipe_has_no_edge_unless_told(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 160
    monkeypatch.setenv("COLUMNS", "60")
    assert console().width == 60


def test_a_published_law_announces_no_intervals_and_no_distance(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "44")
    fit = published("besiroglu2024")
    found = [allocating.by_law(fit, C) for C in (1e21, 1e23)]
    wrong = {C: [allocating.cost_of_wrong(fit, C, 2.0)] for C in (1e21, 1e23)}
    result = allocate_print.Result(fit, found, wrong, {}, [], None, ())
    allocate_print.print_result(result, prices.rate("h100"))
    shown = capsys.readouterr().out
    assert "no intervals" in shown
    assert not re.search("bracket|…", shown)
    assert {"2.78B", "$2,802", "29.3"} <= set(shown.split())

    made = forecast_by(fit, pd.DataFrame({"N": [1e15], "D": [1e20]}))
    assert np.isnan(made.decades).all()
    print_forecast(made)
    shown = capsys.readouterr().out
    assert "unknown" in shown
    assert "0.00" not in shown


@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_sweep_shows_whole_numbers_on_a_narrow_terminal(width):
    run = SimpleNamespace(run="fit-c1.00e17-n64-s0", C={"forward": 1e17}, config={"steps": 12_000})
    progress = SweepProgress("demo", "fit", [run], [run])
    progress.console = Console(width=width)
    progress.started(run)
    progress.moved(run.run, 6_500, 3.1234)
    with progress.console.capture() as captured:
        progress.console.print(progress._show())
    assert "6,500 of 12,000" in captured.get()
    assert "loss 3.1234" in captured.get()
