"""What a table's numbers cannot be is asked before it is fitted, and a flag answers."""

from types import SimpleNamespace

import numpy as np
import pytest

from scaling.console import tables
from train.cli import InputError

GRID = [
    (N, D, 1.7 + 400 * N**-0.34 + 410 * D**-0.28) for N in (1e7, 1e8, 1e9) for D in (2e8, 1e9, 2e10)
]


@pytest.fixture
def ask(tmp_path):
    """Reads a table as the flags say: ask(header, rows, **flags)."""

    def read(header, rows, **given):
        path = tmp_path / "runs.csv"
        lines = [header, *(",".join(f"{cell:.10g}" for cell in row) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
        flags = dict.fromkeys(("c", "split", "n_unit", "d_unit", "c_unit", "metric"))
        flags |= {"runs": str(path), "columns": [], "n": "N", "d": "D", "loss": "loss"}
        return tables.runs_of(SimpleNamespace(**{**flags, **given}))

    return read


def test_a_plain_table_raises_no_question(ask):
    runs = ask("N,D,loss", GRID)
    assert runs["N"].tolist() == [row[0] for row in GRID]


@pytest.mark.parametrize(
    ("name", "units", "answer"),
    [
        ("N", (1e6, 1e9), {"n_unit": 1e6, "d_unit": 1e9}),
        ("N", (1, 1e9), {"d_unit": 1e9}),
        ("N", (1e6, 1), {"n_unit": 1e6}),
        ("params (M)", (1e3, 1), {"n_unit": 1e6}),
    ],
)
def test_columns_in_other_units_are_asked_for(ask, name, units, answer):
    rows = [(N / units[0], D / units[1], loss) for N, D, loss in GRID]
    with pytest.raises(InputError) as caught:
        ask(f"{name},D,loss", rows, n=name)
    said = " ".join(f"--{flag}=1e{np.log10(unit):.0f}" for flag, unit in answer.items())
    assert f"Then {said};" in str(caught.value)
    runs = ask(f"{name},D,loss", rows, n=name, **answer)
    assert runs["N"].tolist() == [row[0] * answer.get("n_unit", 1) for row in rows]
    assert runs["D"].tolist() == [row[1] * answer.get("d_unit", 1) for row in rows]
    as_it_is = ask(f"{name},D,loss", rows, n=name, **dict.fromkeys(answer, 1.0))
    assert as_it_is["D"].tolist() == [row[1] for row in rows]


def test_a_row_of_units_is_asked_for_as_well(ask):
    rows = [(N / 1e6, D, loss) for N, D, loss in GRID]
    with pytest.raises(InputError, match="are these millions"):
        ask("N,D,loss\nmillions,tokens,nats", rows)


def test_compute_in_other_units_is_asked_for(ask):
    rows = [(N, D, 6 * N * D / 1e21, loss) for N, D, loss in GRID]
    with pytest.raises(InputError, match=r"--c_unit: column 'zetta' .* e.g. --c_unit=1e\+21"):
        ask("N,D,zetta,loss", rows, c="zetta")
    runs = ask("N,D,zetta,loss", rows, c="zetta", c_unit=1e21)
    assert runs["C"].tolist() == pytest.approx([6 * N * D for N, D, _ in GRID])
    assert runs.attrs["notes"] == []
    in_units = [(N / 1e6, D / 1e9, 6 * N * D, loss) for N, D, loss in GRID]
    with pytest.raises(InputError, match="Then --n_unit=1e6 --d_unit=1e9;"):
        ask("N,D,C,loss", in_units)
    rows = [(N, D, place + 1, loss) for place, (N, D, loss) in enumerate(GRID)]
    with pytest.raises(InputError, match="a one in it\\? or --n_unit"):
        ask("N,D,C,loss", rows)


@pytest.mark.parametrize("most", [1, 100])
def test_an_accuracy_is_asked_for_and_its_error_read(ask, most):
    rows = [(N, D, most * (1 - loss / 10)) for N, D, loss in GRID]
    with pytest.raises(InputError, match="--metric: column 'acc' rises with C"):
        ask("N,D,acc", rows, loss="acc")
    runs = ask("N,D,acc", rows, loss="acc", metric="accuracy")
    assert runs["loss"].tolist() == pytest.approx([loss / 10 for _, _, loss in GRID])
    as_it_is = ask("N,D,acc", rows, loss="acc", metric="loss")
    assert as_it_is["loss"].tolist() == pytest.approx([row[2] for row in rows])
    with pytest.raises(InputError, match="an accuracy lies inside"):
        ask("N,D,acc", [(*row[:2], row[2] + 100) for row in rows], loss="acc", metric="accuracy")


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_unit_is_positive(ask, unit):
    with pytest.raises(InputError, match="--d_unit"):
        ask("N,D,loss", GRID, d_unit=unit)
