"""Anyone's CSV becomes a table of runs, or one line that says what is wrong with it."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.laws import LAWS
from scaling.runs import dialects
from scaling.runs.replicates import clusters, mixed
from scaling.runs.table import (
    GIVEN,
    NO_C,
    SIX_ND,
    fit_rows,
    heldout_rows,
    matching,
    read_runs,
    validate,
)
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
    path = write(tmp_path, "N,loss\n1e6,3.5\n")
    assert read_runs(path).attrs["c_convention"] == NO_C
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
        ("", ("no header line",)),
        ("N,D,loss,status\n1e6,2e7,3,failed\n", ("no run with status 'ok'",)),
        ("N,D,loss,split\n1e6,2e7,3,train\n", ("'split'", "'train'", "heldout")),
        ("N,D,loss,split\n1e6,2e7,3,heldout\n", ("every run is held out",)),
        ("N,D,loss\n1e6,2e7,3.5,x\n1e6,2e7,3.1,\n", ("line 2", "more cells than its header")),
        ("N,loss,D,loss\n1,1,2,3\n", ("two columns named 'loss'",)),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, text, words):
    path = write(tmp_path, text)
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


_ROWS = [(1e7, 2e8, 5.41262), (3e7, 1e9, 4.19045), (1e8, 5e9, 3.34492)]


def _grouped(value, sign):
    return f"{value:,.0f}".replace(",", sign)


_PLAIN = "N,D,loss\n" + "".join(f"{n:.0f},{d:.0f},{loss}\n" for n, d, loss in _ROWS)
_GERMAN = "N;D;loss\n" + "".join(
    f"{_grouped(n, '.')};{_grouped(d, '.')};{str(loss).replace('.', ',')}\n" for n, d, loss in _ROWS
)
_WANDB = "Name,State,N,D,loss\n" + "".join(f"r,finished,{n},{d},{loss}\n" for n, d, loss in _ROWS)
_MLFLOW = "run_id,status,N,D,loss\n" + "".join(f"r,FINISHED,{n},{d},{x}\n" for n, d, x in _ROWS)
_SAVETXT = "# made by hand\n# N, D, loss\n" + "".join(f"{n},{d},{x}\n" for n, d, x in _ROWS)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (_PLAIN, None),
        ("\ufeff" + _PLAIN, None),
        (_PLAIN.encode("utf-16"), None),
        (_PLAIN.replace("\n", ",note \xe9\n").encode("latin-1"), "Windows-1252"),
        (_PLAIN.replace("\n", "\r"), None),
        (_PLAIN.replace(",", "\t"), None),
        (_PLAIN.replace(",", ";"), None),
        (_GERMAN, "decimal sign"),
        ("".join(f"{i},{row}\n" for i, row in zip(["", 0, 1, 2], _PLAIN.split())), None),
        (_PLAIN.replace("\n", ",\n"), None),
        (_PLAIN.replace("2\n", "2,\n"), None),
        (_PLAIN.replace("loss\n", "loss\nparams,tokens,nats\n"), "taken as units"),
        ("\n# a comment\n" + _PLAIN + "# the end\n", None),
        (_SAVETXT, None),
        ('"N", "D", "loss"\n' + _PLAIN[9:].replace(",", ", "), None),
        (_PLAIN.replace("000000,", "M,"), "'10M' is read as 10000000"),
        (_PLAIN.replace("10000000,", "0x989680,"), "'0x989680'"),
        (_PLAIN.replace("10000000,", "1.0D+07,"), "'1.0D+07'"),
        *((_PLAIN.replace("10000000,", f"10{s}000{s}000,"), "as 10000000") for s in "_'\u202f "),
        (_PLAIN.replace("10000000,", '"10,000,000",'), "'10,000,000'"),
        (_WANDB + "r,crashed,1e9,1e9,9.7\nr,running,1e9,1e9,\n", "1 crashed, 1 running"),
        (_WANDB + "r,finished,1e9,,\n", "1 runs have no loss"),
        (_MLFLOW + "r,FAILED,1e9,1e9,\nr,KILLED,1e9,1e9,1\n", "1 FAILED, 1 KILLED"),
        (_PLAIN.replace("\n", ",\n").replace("s,", "s,status", 1), None),
        (_PLAIN.replace("\n", ",\n").replace("s,", "s,C", 1), "column 'C' is blank"),
    ],
)
def test_one_table_in_many_dialects_is_the_same_numbers(tmp_path, content, note):
    path = tmp_path / "runs.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    runs = read_runs(str(path))
    assert runs[["N", "D", "loss"]].to_numpy().tolist() == [list(row) for row in _ROWS]
    notes = runs.attrs["notes"]
    assert not notes if note is None else note in " ".join(notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10000000,2e8,5.4\n", ("line 1", "header line")),
        ("n,D,loss\n1e6,2e7,3\n", ("did you mean 'n'? --n=n",)),
        ("N,D,loss\n1e6,2e7,3.5\0\n", ("line 2", "NUL")),
        ("N;D;loss\n1,5;2e7;3,5\n1.5;2e7;3,5\n", ("'N'", "line 3", "'1.5'", "decimal sign")),
        ("N;D;loss\n1,5;2,000,000;3,5\n", ("decimal comma", "'2,000,000'")),
        ("N;D;loss\n125,000;2e7;3\n", ("'125,000' may be 125.000 or 125000",)),
        ("N,D,loss\n1e6,2e7,5.4%\n1e6,2e7,5.4\n", ("line 2", "'5.4%'", "percent")),
        ("N,D,loss,split\n1e6,2e7,3,fit\n1e6,3e7,3,\n", ("'split'", "line 3", "--split=")),
        ("N,D,loss,state\n1e6,2e7,3,crashed\n", ("no run with state 'ok'", "1 crashed")),
        ("N,D,loss,loss_se\n1e6,2e7,3,-0.1\n", ("'loss_se'", "line 2", "-0.1")),
        ("N,D,loss,U\n1e6,2e7,3,1e6\n1e6,2e7,3,many\n", ("'U'", "line 3", "'many'")),
        ("N,D,loss,epochs\n1e6,2e7,3,1\n1e6,2e7,3,<1\n", ("'epochs'", "line 3", "'<1'")),
    ],
)
def test_what_may_mean_two_things_is_refused_by_name(tmp_path, text, words):
    with pytest.raises(InputError) as caught:
        read_runs(write(tmp_path, text))
    for word in words:
        assert word in str(caught.value)


def test_errors_name_the_users_column(tmp_path):
    path = write(tmp_path, "params,D,val_loss\n1e6,2e7,3.5\n1e6,2e7,-3\n")
    with pytest.raises(InputError, match="column 'val_loss', line 3: '-3"):
        read_runs(path, n="params", loss="val_loss")


def test_optional_columns_are_numbers_or_left_out_with_a_note(tmp_path):
    head = "N,D,loss,loss_se,epochs,budget,seed,state\n"
    path = write(tmp_path, head + "1e6,2e7,3,-,<1,1e14,a,Texas\n2e6,2e7,3,.1,<1,,b,Ohio\n")
    runs = read_runs(path)
    assert len(runs) == 2
    assert np.isnan(runs["loss_se"][0])
    assert runs["loss_se"][1] == 0.1
    assert not {"epochs", "budget"} & set(runs.columns)
    notes = " ".join(runs.attrs["notes"])
    assert "'epochs' is not read: no cell is a number ('<1')" in notes
    assert "'budget' is not read: a cell is blank" in notes
    assert validate(runs).attrs["notes"] == runs.attrs["notes"]
    with pytest.raises(InputError, match="'epochs', line 2: '<1'"):
        read_runs(path, extra=("epochs",))


def test_a_blank_run_is_a_training_of_its_own_and_a_blank_kind_a_kind():
    runs = pd.DataFrame({"run": ["a", "a", None, None, "b"], "family": ["gpt"] * 4 + [None]})
    runs = runs.assign(N=1e6, D=[1e7, 2e7, 3e7, 4e7, 5e7], loss=3.0)
    assert clusters(runs, LAWS["chinchilla"]).point.tolist() == [0, 0, 2, 3, 1]
    assert mixed(runs) == ["family: the runs mix 2 kinds (blank, gpt)"]


def test_compute_that_does_not_fit_is_said(tmp_path):
    path = write(tmp_path, "N,D,FLOPs,loss\n1e6,2e7,1.2e14,3\n1e6,4e7,7.2e14,3\n")
    assert read_runs(path, c="FLOPs").attrs["notes"] == []
    path = write(tmp_path, "N,D,FLOPs,loss\n1e6,2e7,1.2e14,3\n1e6,4e7,1.2e15,3\n")
    assert read_runs(path, c="FLOPs").attrs["notes"] == ["FLOPs is 1 to 5 times 6 N D"]


def test_limits_count_unpacked_bytes(tmp_path, monkeypatch):
    path = tmp_path / "runs.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write(_PLAIN)
    assert len(read_runs(str(path))) == 3
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match="not a readable CSV"):
        read_runs(str(path))
    path.write_bytes(whole)
    monkeypatch.setattr(dialects, "MAX_BYTES", len(_PLAIN) - 1)
    with pytest.raises(InputError, match=f"more than {len(_PLAIN) - 1} bytes"):
        read_runs(str(path))


def test_a_file_of_the_patterns_name_comes_first(tmp_path, monkeypatch):
    (tmp_path / "br[1]").mkdir()
    path = Path(write(tmp_path / "br[1]", _PLAIN))
    assert matching(str(path)) == [str(path)]
    assert matching(f"{tmp_path}/*/runs.csv") == [str(path)]
    monkeypatch.setenv("HOME", str(path.parent))
    assert matching("~/runs.csv") == [str(path)]
    assert len(read_runs("~/runs.csv")) == 3


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
