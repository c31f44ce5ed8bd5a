"""Tables of runs: anyone's CSV -> a data frame with the canonical columns N, D, C and loss.

Canonical columns are float64 and positive: N (parameters), D (training examples), C (training
FLOPs), loss; where the file has them also loss_se, seed, budget, and `split` ('fit' or 'heldout').
All other columns are kept as they are. What was done to the table is in `attrs`: 'notes' (one line
each, for people), 'c_convention', 'source'.
"""

import os
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from train.cli import InputError, nearest

MAX_BYTES = 2**30
MAX_ROWS = 10_000_000
LARGEST = 1e60  # products of columns stay far from overflow
SPLITS = ("fit", "heldout")
SIX_ND = "C = 6 N D"
GIVEN = "C as given in the table"
_MAY_BE_ABSENT = ("D", "C")


def read_runs(
    path: str,
    n: str | None = "N",
    d: str = "D",
    loss: str | None = "loss",
    c: str | None = None,
    split: str | None = None,
    extra: Sequence[str] = (),
) -> pd.DataFrame:
    """Reads a CSV of runs, one row a run.

    Args:
      path: the CSV file, with a header line.
      n: column with the number of parameters; None where the law does not read it.
      d: column with the number of training examples. Where the file has no such column and the
        name is the default one, D = C / (6 N), or no D at all if C is missing as well.
      loss: column with the final loss; None where the law does not read it.
      c: column with the training FLOPs; default 'C' where the file has it, else C = 6 N D.
      split: column that says 'fit' or 'heldout'; default 'split' or 'role' where the file has one.
      extra: further columns that must be there and be positive numbers.

    Returns:
      The runs whose `status` is ok (all of them where there is no such column), in file order.

    Raises:
      InputError: naming file, column and line, for whatever cannot be read as runs.
    """
    frame = read_csv(path)
    names = {"N": n, "loss": loss, **{name: name for name in extra}}
    names = {name: column for name, column in names.items() if column is not None}
    if d != "D" or "D" in frame.columns:
        names["D"] = d
    if c is not None or "C" in frame.columns:
        names["C"] = c or "C"
    for name, column in names.items():
        if column not in frame.columns:
            flag = {"N": "--n", "D": "--d", "C": "--c", "loss": "--loss"}.get(name, "column")
            raise InputError(
                f"{flag}: {path} has no column {column!r}; {nearest(column, frame.columns)}"
            )
    split = split or next((s for s in ("split", "role") if s in frame.columns), None)
    if split is not None and split not in frame.columns:
        raise InputError(
            f"--split: {path} has no column {split!r}; {nearest(split, frame.columns)}"
        )
    notes: list[str] = []
    frame = _drop_failed(frame, path, notes)
    runs = frame.copy()
    for name, column in names.items():
        runs[name] = frame[column]
    if split is not None:
        runs["split"] = frame[split]
    runs.attrs.update(source=path, notes=notes, lines=True)
    return validate(runs, columns=tuple(names))


def read_csv(path: str) -> pd.DataFrame:
    """The file's rows as they are, blank lines left out. Raises InputError where it is no CSV."""
    if not os.path.exists(path):
        raise InputError(f"--runs: {path!r} does not exist; a CSV file with one row a run")
    if not os.path.isfile(path):
        raise InputError(f"--runs: {path!r} is not a file; a CSV file with one row a run")
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise InputError(f"--runs: {path} has {size} bytes; at most {MAX_BYTES} are read")
    try:
        # Blank lines are kept so that a row's number is its line in the file.
        frame = pd.read_csv(path, skip_blank_lines=False, nrows=MAX_ROWS + 1, low_memory=False)
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"--runs: {path} is not a readable CSV: {error}") from None
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes surplus cells for row labels
        raise InputError(f"--runs: {path}: its rows have more cells than its header has names")
    frame.columns = [str(name).strip() for name in frame.columns]
    if frame.columns.duplicated().any():
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InputError(f"--runs: {path} has two columns named {twice!r}; names must differ")
    frame = frame.dropna(how="all")
    if frame.empty:
        raise InputError(f"--runs: {path} has no rows below its header; one row a run is needed")
    return frame


def validate(
    runs: pd.DataFrame,
    columns: Iterable[str] = ("N", "D", "loss"),
    nonnegative: Iterable[str] = (),
) -> pd.DataFrame:
    """Checks a table of runs and completes it with D and C; the input is not changed.

    Args:
      runs: a table with the canonical column names.
      columns: those that must be there; 'D' and 'C' may be missing where the others give them.
      nonnegative: those of them that may be zero.

    Raises:
      InputError: with column and row of the first value that is not a positive finite number.
    """
    source = runs.attrs.get("source", "runs")
    notes = list(runs.attrs.get("notes", []))
    if not len(runs):
        raise InputError(f"{source}: no runs in the table; at least one row is needed")
    if len(runs) > MAX_ROWS:
        raise InputError(f"{source}: {len(runs)} rows; at most {MAX_ROWS} are read")
    result = runs.copy()
    for name in dict.fromkeys((*columns, *_MAY_BE_ABSENT)):
        if name in runs.columns:
            result[name] = _positive(runs, name, source, zero=name in nonnegative)
        elif name not in _MAY_BE_ABSENT:
            raise InputError(f"{source}: no column {name!r}; {nearest(name, runs.columns)}")
    if "split" in runs.columns:
        _check_split(runs, source)
    _complete(result, notes)
    # Vectors in cells cannot be compared; two rows that agree in all numbers are still repeats.
    plain = [c for c in result.columns if c != "run" and not _holds_vectors(result[c])]
    same = result.duplicated(subset=plain)
    if same.any():
        words = f"{int(same.sum())} rows repeat an earlier row exactly; kept, each counts as a run"
        notes += [words] * (words not in notes)
    result.attrs.update(source=source, notes=notes)
    result.attrs.setdefault("c_convention", GIVEN)
    return result


def fit_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows that may enter a fit: all but those held out."""
    return runs[runs["split"] != "heldout"] if "split" in runs.columns else runs


def heldout_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows kept for scoring a forecast."""
    return runs[runs["split"] == "heldout"] if "split" in runs.columns else runs.iloc[:0]


def _drop_failed(frame: pd.DataFrame, path: str, notes: list[str]) -> pd.DataFrame:
    if "status" not in frame.columns:
        return frame
    failed = frame["status"].astype(str).str.strip().str.lower() != "ok"
    if failed.all():
        raise InputError(f"--runs: {path} has no run with status 'ok' in its {len(frame)} rows")
    if failed.any():
        kinds = frame.loc[failed, "status"].astype(str).value_counts()
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        notes.append(f"{int(failed.sum())} runs did not end ok and are left out: {listed}")
    return frame[~failed]


def _positive(runs: pd.DataFrame, name: str, source: str, zero: bool) -> np.ndarray:
    raw = runs[name]
    if raw.dtype == bool:
        raise InputError(f"{source}: column {name!r} holds true/false; positive numbers")
    values = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = ~((values > 1 / LARGEST) & (values < LARGEST))  # NaN is bad as well
    if zero:
        bad &= values != 0
    if bad.any():
        place = int(np.argmax(bad))
        where = f"line {runs.index[place] + 2}" if runs.attrs.get("lines") else f"row {place}"
        given = "nothing" if pd.isna(raw.iloc[place]) else repr(str(raw.iloc[place]))
        more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
        raise InputError(
            f"{source}: column {name!r}, {where}: {given}{more}; positive numbers below {LARGEST:g}"
        )
    return values


def _holds_vectors(column: pd.Series) -> bool:
    return column.dtype == object and isinstance(column.iloc[0], list | np.ndarray)


def _check_split(runs: pd.DataFrame, source: str) -> None:
    wrong = ~runs["split"].isin(SPLITS)
    if wrong.any():
        given = runs["split"][wrong].iloc[0]
        raise InputError(f"{source}: column 'split': {given!r}; {nearest(given, SPLITS)}")
    if (runs["split"] == "heldout").all():
        raise InputError(f"{source}: every run is held out; some must be 'fit'")


def _complete(result: pd.DataFrame, notes: list[str]) -> None:
    """Adds the one of D and C that is missing, by C = 6 N D."""
    if "N" not in result.columns or {"C", "D"} <= set(result.columns):
        return
    if "D" in result.columns:
        result["C"] = 6 * result["N"] * result["D"]
        result.attrs["c_convention"] = SIX_ND
    elif "C" in result.columns:
        result["D"] = result["C"] / (6 * result["N"])
        result.attrs["c_convention"] = SIX_ND
        notes.append("D is missing: D = C / (6 N)")
