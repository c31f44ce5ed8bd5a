import numpy as np
import pandas as pd
import pytest

from benchmarks import transfer


def runs(*rows) -> pd.DataFrame:
    names = ("run", "N", "D", "loss", "start_D")
    return pd.DataFrame([dict(zip(names, row)) for row in rows])


def test_what_was_transferred_is_read_off_the_runs_from_nothing():
    def loss(D):
        return 10 * D**-0.2

    table = runs(
        *((f"s{D:g}", 5e3, D, loss(D), 0.0) for D in (1e4, 4e4, 1.6e5)),
        ("inside", 5e3, 1e4, loss(9e4), 1e6),
        ("beyond", 5e3, 4e4, loss(2e5), 1e6),
        ("worse", 5e3, 4e4, loss(3e4), 1e6),
        ("s", 9e3, 1e4, 2.0, 0.0),
        ("s2", 9e3, 4e4, 1.8, 0.0),
    )
    found = transfer.transferred(table).set_index("run")
    assert list(found.index) == ["inside", "beyond"]
    np.testing.assert_allclose(found.D_T.astype(float), [8e4, 1.6e5], rtol=1e-9)
    assert list(found.beyond) == [False, True]


def test_a_module_is_a_document_of_its_docstrings(tmp_path):
    (tmp_path / "tests").mkdir()
    for name in ("a.py", "tests/b.py"):
        (tmp_path / name).write_text('"""One."""\ndef f():\n    """Two."""\n    return "three"\n')
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert list(transfer.docstrings(tmp_path)) == [("a.py", "One.\n\nTwo.")]


@pytest.mark.parametrize(
    ("width", "tokens", "start", "steps"), [(16, 1.2e5, None, 938), (32, 3e4, "there", 234)]
)
def test_one_recipe_serves_both(width, tokens, start, steps):
    config = transfer._config(width, tokens, "embedded", start)
    assert (config.steps, config.model.config.width) == (steps, width)
    assert config.start.run == (start or "")
