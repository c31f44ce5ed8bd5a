"""Anyone's CSV becomes a table of runs, or one line that says what is wrong with it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.table import GIVEN, SIX_ND, fit_rows, heldout_rows, read_runs, validate
from train.cli import InputError


def write(folder, text):
    path = folder / "runs.csv"
    path.write_text(text)
    return str(path)


def test_named_columns_become_canonical_and_the_rest_is_kept(tmp_path):
    path = write(tmp_path, "params,tokens,val,optimizer\n1e6,2e7,3.5,adam\n4e6,3e7,3.1,sgd\n")
    runs = read_runs(path, n="params", d="tokens", loss="val")
    assert runs["N"].tolist() == [1e6, 4e6]
    assert runs["D"].dtype == np.float64
    assert runs["C"].tolist() == [6 * 1e6 * 2e7, 6 * 4e6 * 3e7]
    assert runs.attrs["c_convention"] == SIX_ND
    assert runs["optimizer"].tolist() == ["adam", "sgd"]


def test_compute_as_given_and_data_from_compute(tmp_path):
    path = write(tmp_path, "N,D,C,loss\n1e6,2e7,9e13,3.5\n")
    assert read_runs(path).attrs["c_convention"] == GIVEN
    path = write(tmp_path, "N,C,loss\n1e6,6e13,3.5\n")
    assert read_runs(path)["D"].tolist() == [1e7]


def test_failed_runs_are_left_out_and_said(tmp_path):
    path = write(
        tmp_path, "N,D,loss,status\n1e6,2e7,3.5,ok\n2e6,2e7,nan,diverged\n3e6,2e7,3.0,ok\n"
    )
    runs = read_runs(path)
    assert runs["N"].tolist() == [1e6, 3e6]
    assert any("1 diverged" in note for note in runs.attrs["notes"])


def test_role_splits_the_table_and_exact_repeats_are_counted(tmp_path):
    path = write(
        tmp_path,
        "N,D,loss,role\n1e6,2e7,3.5,fit\n1e6,2e7,3.5,fit\n9e6,2e7,3.0,heldout\n",
    )
    runs = read_runs(path)
    assert len(fit_rows(runs)) == 2
    assert heldout_rows(runs)["N"].tolist() == [9e6]
    assert any("1 rows repeat" in note for note in runs.attrs["notes"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("N,D,los\n1,2,3\n", ("'loss'", "did you mean 'los'")),
        ("N,D,loss\n1e6,2e7,3.5\n1e6,many,3\n", ("'D'", "line 3", "'many'")),
        ("N,D,loss\n1e6,2e7,3.5\n\n1e6,2e7,\n", ("'loss'", "line 4", "nothing")),
        ("N,D,loss\n1e6,2e7,-3\n", ("'loss'", "line 2", "-3")),
        ("N,D,loss\n0,2e7,3\n", ("'N'", "line 2")),
        ("N,D,loss\n1e6,inf,3\n", ("'D'", "line 2", "inf")),
        ("N,D,loss\n", ("no rows",)),
        ("", ("not a readable CSV",)),
        ("N,D,loss,status\n1e6,2e7,3,failed\n", ("no run with status 'ok'",)),
        ("N,D,loss,split\n1e6,2e7,3,train\n", ("'split'", "'train'", "heldout")),
        ("N,D,loss,split\n1e6,2e7,3,heldout\n", ("every run is held out",)),
        ("N,D,loss\n1e6,2e7,3.5,\n1e6,2e7,3.1,\n", ("more cells than its header",)),
        ("N,N,D,loss\n1,1,2,3\n", ()),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, text, words):
    path = write(tmp_path, text)
    if not words:  # pandas renames a repeated header; the first column of the name is used
        assert read_runs(path)["N"].tolist() == [1.0]
        return
    with pytest.raises(InputError) as caught:
        read_runs(path)
    assert "\n" not in str(caught.value).strip()
    for word in words:
        assert word in str(caught.value)


def test_missing_file_and_missing_frame_column():
    with pytest.raises(InputError, match="does not exist"):
        read_runs("/nowhere/runs.csv")
    with pytest.raises(InputError, match="no column 'loss'"):
        validate(pd.DataFrame({"N": [1.0], "D": [2.0]}))


def test_validate_leaves_its_input_alone():
    frame = pd.DataFrame({"N": ["1e6"], "D": [2], "loss": [3.0]})
    validate(frame)
    assert list(frame.columns) == ["N", "D", "loss"]
    assert frame["N"].tolist() == ["1e6"]


_cells = st.one_of(
    st.sampled_from(
        ["", "1", "-1", "0", "nan", "inf", "1e999", "3.5", "x", '"', ",", "ok", "1e-320"]
    ),
    st.floats().map(str),
    st.text(max_size=4),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(_cells, min_size=1, max_size=6), max_size=6), st.booleans())
def test_no_text_file_whatever_gives_anything_but_runs_or_input_error(tmp_path, cells, header):
    lines = ["N,D,loss,C,status"] * header + [",".join(row) for row in cells]
    path = tmp_path / "any.csv"
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    try:
        runs = read_runs(str(path))
    except InputError:
        return
    for name in ("N", "D", "loss"):
        if name in runs.columns:
            assert np.all(np.isfinite(runs[name]) & (runs[name] > 0))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
def test_no_binary_file_gives_a_traceback(tmp_path, content):
    path = tmp_path / "any.bin"
    path.write_bytes(content)
    try:
        read_runs(str(path))
    except InputError:
        return
