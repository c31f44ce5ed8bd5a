"""Tables of runs: anyone's CSV -> a data frame with the canonical columns N, D, C and loss.

Canonical columns are float64 and positive: N (parameters), D (training examples), C (training
FLOPs), loss; where the file has them also loss_se, epochs, U (unique examples) and budget, NaN
where a cell is blank. Such a column without a single number is taken for something else and left
out; a wrong cell among numbers is an error. Labels tell rows apart and may be any text: run, seed,
and the columns of kind and setting of `scaling.runs.replicates`. `split` is 'fit' or 'heldout'. All
other columns are kept as they are. What was done to the table is in `attrs`: 'notes' (one line
each, for people), 'c_convention', 'source', 'columns' (canonical name -> the user's).
"""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from scaling.runs import dialects
from train.cli import LARGEST, InputError, nearest

MAX_ROWS = dialects.MAX_ROWS
SPLITS = ("fit", "heldout")
SIX_ND = "C = 6 N D"
GIVEN = "C as given in the table"
NO_C = "no compute in the table"
OPTIONAL = ("loss_se", "epochs", "U", "budget")
FLAGS = {"N": "--n", "D": "--d", "C": "--c", "loss": "--loss"}
_MAY_BE_ABSENT = ("D", "C")
_FITS = 3.0  # C within this factor of 6 N D, up or down, is not worth a word
# The words of this project, wandb, MLflow and schedulers.
_ENDED_WELL = ("ok", "finished", "success", "succeeded", "complete", "completed", "done")
_ENDED_OTHERWISE = (
    "aborted",
    "canceled",
    "cancelled",
    "crashed",
    "diverged",
    "error",
    "failed",
    "killed",
    "pending",
    "preempted",
    "preempting",
    "running",
    "scheduled",
    "stopped",
    "timeout",
)


def matching(pattern: str) -> list[str]:
    """The files that a path or pattern names, sorted; a file of that very name comes first."""
    pattern = os.path.expanduser(pattern)
    return [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))


def read_runs(
    path: str,
    n: str | None = "N",
    d: str = "D",
    loss: str | None = "loss",
    c: str | None = None,
    split: str | None = None,
    extra: Sequence[str] | Mapping[str, str] = (),
    *,
    units: Mapping[str, float] | None = None,
    accuracy: bool = False,
) -> pd.DataFrame:
    """Reads a CSV of runs, one row a run.

    Args:
      path: the CSV file, with a header line.
      n: column with the number of parameters; None where the law does not read it.
      d: column with the number of training examples. Where the file has no such column and the
        name is the default one, D = C / (6 N), or no D at all if C is missing as well.
      loss: column with the final loss; None where the law does not read it.
      c: column with the training FLOPs; default 'C' where the file has it, else C = 6 N D.
      split: column that says 'fit' or 'heldout'; default 'split' or 'role' where the file has one;
        '' reads none.
      extra: further columns, positive numbers; a mapping says what the file calls them.
      units: what the numbers of N, D or C count, 1e6 for millions; default 1.
      accuracy: the loss column is an accuracy, of 1 or of 100; the loss is 1 - accuracy.

    Returns:
      The runs that ended well by `status` or `state` (all where there is neither), in file order.

    Raises:
      InputError: naming file, column and line, for whatever cannot be read as runs.
    """
    text = _text(path)
    names = _wanted(text, {"N": n, "loss": loss, **_called(extra)}, d, c)
    if split is None:
        split = next((s for s in ("split", "role") if _filled(text, s)), None)
    if split:
        _there(split, text, "--split")
    frame = dialects.frame(text, names.values())
    notes = list(frame.attrs["notes"])
    frame = drop_failed(frame, text.path, notes)
    frame = _drop_without_loss(frame, names.get("loss"), notes)
    runs = frame.copy()
    for name, column in names.items():
        runs[name] = _numbers(frame, name, column, notes) * (units or {}).get(name, 1.0)
    for name in (o for o in OPTIONAL if o in frame.columns and o not in names):
        if _says_numbers(frame, name):
            runs[name] = _numbers(frame, name, name, notes)
    if "C" in runs.columns and "C" not in names:
        runs = runs.drop(columns="C")
        notes.append("column 'C' is blank: C = 6 N D")
    if split:
        runs["split"] = frame[split]
    elif "split" in runs.columns:
        runs = runs.drop(columns="split")
    runs.attrs.update(notes=notes, columns={**names, "split": split})
    if accuracy:
        runs = _as_error(runs)
    return validate(runs, columns=tuple(names))


def read_csv(path: str, numeric: Iterable[str] = ()) -> pd.DataFrame:
    """The file's rows, blank lines left out; `numeric` as in `dialects.frame`."""
    return dialects.frame(_text(path), numeric)


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
    columns = tuple(columns)
    result = runs.copy()
    for name in dict.fromkeys((*columns, *_MAY_BE_ABSENT)):
        if name in runs.columns:
            result[name] = _positive(runs, name, source, zero=name in nonnegative)
        elif name not in _MAY_BE_ABSENT:
            raise InputError(f"{source}: no column {name!r}; {nearest(name, runs.columns)}")
    for name in (o for o in OPTIONAL if o in runs.columns and o not in columns):
        result = _optional(result, name, source, notes)
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
    result.attrs.setdefault("c_convention", GIVEN if "C" in result.columns else NO_C)
    return result


def fit_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows that may enter a fit: all but those held out."""
    return runs[runs["split"] != "heldout"] if "split" in runs.columns else runs


def heldout_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows kept for scoring a forecast."""
    return runs[runs["split"] == "heldout"] if "split" in runs.columns else runs.iloc[:0]


def drop_failed(frame: pd.DataFrame, source: str, notes: list[str]) -> pd.DataFrame:
    """The rows whose `status`, or a tracker's `State`, says that they ended well; notes the rest.

    Raises:
      InputError: no row did.
    """
    for column in (c for c in frame.columns if str(c).lower() in ("status", "state")):
        blank = frame[column].isna()
        words = frame[column].astype(str).str.strip().where(~blank, "blank")
        known = words.str.lower()
        if blank.all():
            continue
        # Only `status` is ours; a state may be anything, unless it speaks as trackers do.
        a_trackers = known.isin((*_ENDED_WELL, *_ENDED_OTHERWISE)) | blank
        if str(column).lower() == "state" and not a_trackers.all():
            continue
        failed = ~known.isin(_ENDED_WELL)
        if failed.all():
            raise InputError(
                f"--runs: {source} has no run with {column} 'ok' in its {len(frame)} rows (nor "
                f"'finished' or the like): {_counts(words)}"
            )
        if failed.any():
            listed = _counts(words[failed])
            notes.append(f"{int(failed.sum())} runs did not end ok and are left out: {listed}")
        return frame[~failed]
    return frame


def named(runs: pd.DataFrame, name: str) -> str:
    """How the user calls a canonical column."""
    return runs.attrs.get("columns", {}).get(name) or name


def _counts(words: pd.Series) -> str:
    return ", ".join(f"{count} {word}" for word, count in words.value_counts().items())


def _text(path: str) -> dialects.Text:
    path = os.path.expanduser(path)
    if not os.path.exists(path):
        raise InputError(f"--runs: {path!r} does not exist; a CSV file with one row a run")
    if not os.path.isfile(path):
        raise InputError(f"--runs: {path!r} is not a file; a CSV file with one row a run")
    return dialects.read(path)


def _wanted(
    text: dialects.Text, names: Mapping[str, str | None], d: str, c: str | None
) -> dict[str, str]:
    """The file's columns to read, by their canonical names; all of them are there."""
    wanted = {name: column for name, column in names.items() if column is not None}
    if d != "D" or "D" in text.columns:
        wanted["D"] = d
    if c is not None or _filled(text, "C"):
        wanted["C"] = c or "C"
    for name, column in wanted.items():
        _there(column, text, FLAGS.get(name, "column"))
    return wanted


def _called(extra: Sequence[str] | Mapping[str, str]) -> Mapping[str, str]:
    return extra if isinstance(extra, Mapping) else {name: name for name in extra}


def _there(column: str, text: dialects.Text, flag: str) -> None:
    if column in text.columns:
        return
    same = next((c for c in text.columns if c.lower() == column.lower()), None)
    hint = f"did you mean {same!r}? {flag}={same}; " if same and flag.startswith("--") else ""
    raise InputError(
        f"{flag}: {text.path} has no column {column!r}; {hint}{nearest(column, text.columns)}"
    )


def _filled(text: dialects.Text, name: str) -> bool:
    return any(cell is not None for cell in text.columns.get(name, ()))


def _says_numbers(frame: pd.DataFrame, name: str) -> bool:
    """Whether any cell of an optional column is a number."""
    cells = frame[name].dropna().astype(str)
    return any(
        dialects.number(c, frame.attrs["decimal"], name != "loss_se") is not None for c in cells
    )


def _numbers(frame: pd.DataFrame, name: str, column: str, notes: list[str]) -> pd.Series:
    values, said = dialects.numbers(
        frame[column],
        frame.attrs["decimal"],
        f"{frame.attrs['source']}: column {column!r}",
        suffix=name not in ("loss", "loss_se"),
        percent=name == "loss",
    )
    notes += [f"{column}: {said}"] if said else []
    return values


def _drop_without_loss(frame: pd.DataFrame, loss: str | None, notes: list[str]) -> pd.DataFrame:
    """Trackers list runs that never logged a loss; elsewhere a blank loss is an error."""
    tracked = any(str(column).lower() in ("status", "state") for column in frame.columns)
    if loss is None or not tracked or frame[loss].isna().all():
        return frame
    without = frame[loss].isna()
    if without.any():
        notes.append(f"{int(without.sum())} runs have no {loss} and are left out")
    return frame[~without]


def _as_error(runs: pd.DataFrame) -> pd.DataFrame:
    """The table with loss = 1 - accuracy."""
    column, values = named(runs, "loss"), runs["loss"]
    most = 100.0 if values.max() > 1 else 1.0
    if not ((values > 0) & (values < most)).all():
        raise InputError(
            f"--metric: column {column!r} is from {values.min():g} to {values.max():g}; an "
            "accuracy lies inside 0 to 1, or 0 to 100"
        )
    runs = runs.assign(loss=1 - values / most)
    if "loss_se" in runs.columns and pd.api.types.is_numeric_dtype(runs["loss_se"]):
        runs["loss_se"] = runs["loss_se"] / most
    runs.attrs["notes"] = [*runs.attrs["notes"], f"the loss is the error, 1 - {column}"]
    return runs


def _positive(runs: pd.DataFrame, name: str, source: str, zero: bool = False, blank: bool = False):
    """A column as float64 [n], checked; `blank` allows cells that say nothing."""
    raw, column = runs[name], named(runs, name)
    if raw.dtype == bool:
        raise InputError(f"{source}: column {column!r} holds true/false; positive numbers")
    values = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = ~((values > 1 / LARGEST) & (values < LARGEST))  # NaN is bad as well
    if zero:
        bad &= values != 0
    if blank:
        bad &= raw.notna().to_numpy()
    if bad.any():
        place = int(np.argmax(bad))
        where = f"line {runs.index[place] + 2}" if runs.attrs.get("lines") else f"row {place}"
        given = "nothing" if pd.isna(raw.iloc[place]) else repr(str(raw.iloc[place]))
        more = f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
        raise InputError(
            f"{source}: column {column!r}, {where}: {given}{more}; positive numbers below "
            f"{LARGEST:g}"
        )
    return values


def _optional(runs: pd.DataFrame, name: str, source: str, notes: list[str]) -> pd.DataFrame:
    """The table with an optional column checked, or without it where it is something else."""
    raw = runs[name]
    filled = raw[raw.notna()]
    why = ""
    if len(filled) and (raw.dtype == bool or pd.to_numeric(filled, errors="coerce").isna().all()):
        why = f"no cell is a number ({str(filled.iloc[0])!r})"
    elif name == "budget" and len(filled) < len(raw):
        why = "a cell is blank, so that it cannot group the runs"
    if why:
        words = f"column {name!r} is not read: {why}"
        notes += [words] * (words not in notes)
        return runs.drop(columns=name)
    runs[name] = _positive(runs, name, source, zero=name == "loss_se", blank=True)
    return runs


def _holds_vectors(column: pd.Series) -> bool:
    return column.dtype == object and isinstance(column.iloc[0], list | np.ndarray)


def _check_split(runs: pd.DataFrame, source: str) -> None:
    wrong = ~runs["split"].isin(SPLITS)
    column = named(runs, "split")
    if wrong.any():
        given, row = runs["split"][wrong].iloc[0], runs.index[wrong][0]
        where = f", line {row + 2}" if runs.attrs.get("lines") else ""
        said = "nothing" if pd.isna(given) else repr(str(given))
        raise InputError(
            f"{source}: column {column!r}{where}: {said}; {nearest(given, SPLITS)}; --split= reads "
            "no such column"
        )
    if (runs["split"] == "heldout").all():
        raise InputError(f"{source}: column {column!r}: every run is held out; some must be 'fit'")


def _complete(result: pd.DataFrame, notes: list[str]) -> None:
    """Adds the one of D and C that is missing, by C = 6 N D, and says where all are and differ."""
    if "N" not in result.columns:
        return
    if {"C", "D"} <= set(result.columns):
        if result.attrs.get("c_convention") != SIX_ND:
            ratio = result["C"] / (6 * result["N"] * result["D"])
            low, high = ratio.min(), ratio.max()
            words = f"{named(result, 'C')} is {low:.3g} to {high:.3g} times 6 N D"
            if low < 1 / _FITS or high > _FITS or high > _FITS * low:
                notes += [words] * (words not in notes)
    elif "D" in result.columns:
        result["C"] = 6 * result["N"] * result["D"]
        result.attrs["c_convention"] = SIX_ND
    elif "C" in result.columns:
        result["D"] = result["C"] / (6 * result["N"])
        result.attrs["c_convention"] = SIX_ND
        notes.append("D is missing: D = C / (6 N)")
