"""A regression data set from a CSV file with a header: numbers only, one column the target."""

import csv
import hashlib
import io
import math
from pathlib import Path

import numpy as np

from data import order
from data.sources import files

EVAL_SHARE = 0.2
MAX_FILE_BYTES = 1 << 30
MAX_NUMBER = float(np.finfo(np.float32).max)


class TableDataset:
    """A table in memory; see data.Dataset.

    Columns and target are standardised by the mean and standard deviation of the training rows, so
    a mean squared error of 1 is that of the training mean. A fifth of the rows, by a hash of their
    numbers, are held out: equal rows are on one side.
    """

    unit = "sample"
    units_per_row = 1
    note = ""

    def __init__(self, path: str, target: str, features: int, eval_rows: int):
        names, table, lines = read_table(files.user_path(path))
        if target not in names:
            raise ValueError(f"data.target: {target!r}; allowed: {', '.join(names)}")
        columns = [i for i, name in enumerate(names) if name != target]
        if not 0 <= features <= len(columns) or not columns:
            raise ValueError(f"data.features: {features}; allowed: 0 (all) to {len(columns)}")
        if eval_rows < 0:
            raise ValueError(f"data.eval_examples: {eval_rows}; allowed: 0 (all) or more")
        digests = [hashlib.sha256(row.tobytes()).digest() for row in table]
        held_out = np.array([digest[0] < EVAL_SHARE * 256 for digest in digests])
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"data.source: csv:{path}: {len(table)} rows; allowed: enough to hold out a fifth"
            )
        columns = [*columns[: features or None], names.index(target)]
        chosen = table[:, columns]
        if (chosen[~held_out, -1] == chosen[~held_out][0, -1]).all():
            raise ValueError(f"data.target: {target!r} is constant over the training rows")
        scaled = _standardised(chosen, ~held_out)
        for row, column in np.argwhere(~np.isfinite(scaled))[:1]:
            name, value = names[columns[column]], chosen[row, column]
            raise ValueError(
                f"data.source: csv:{path} line {lines[row]} column {name!r}: {value:g}; "
                "allowed: what float32 can hold in standard deviations of the training rows"
            )
        self._train = scaled[~held_out]
        self._eval = scaled[held_out][: eval_rows or None]
        self.train_rows, self.eval_rows = len(self._train), len(self._eval)
        self.facts = {}
        content = hashlib.sha256(b"table %d" % order.VERSION)
        content.update(self._train.tobytes() + self._eval.tobytes())
        content.update(f"{self._train.shape} {self._eval.shape}".encode())
        self.digest = content.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `x` float32 [B / K, P], `y` and `weight` float32 [B / K]."""
        examples = order.example_indices(seed, step, batch_size, shard, self.train_rows)
        return _batch(self._train[examples])

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `x` float32 [B, P], `y` and `weight` float32 [B]."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(_batch(self._eval[rows.start : rows.stop]), batch_size)


def _standardised(table: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Columns in standard deviations of the rows `train` from their mean, float32.

    A constant column carries nothing; it becomes 0.
    """
    # In powers of two, which change no digit, so that no square is too large or too small.
    _, exponents = np.frexp(np.abs(table[train]).max(axis=0))
    with np.errstate(over="ignore"):
        table = np.ldexp(table, -exponents)
        constant = (table[train] == table[train][0]).all(axis=0)
        mean, spread = table[train].mean(axis=0), table[train].std(axis=0)
        scaled = ((table - mean) / np.where(constant, 1, spread)).astype(np.float32)
    return np.where(constant, np.float32(0), scaled)


def read_table(path: Path) -> tuple[list[str], np.ndarray, list[int]]:
    """Column names, float64 [rows, columns], and each row's line in the file, which may be packed.

    Errors name the line and the column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"data.source: csv:{path}; there is no such file")
    try:
        with files.unpacked(path, MAX_FILE_BYTES) as file:
            reader = csv.reader(io.TextIOWrapper(file, newline="", encoding="utf-8-sig"))
            names = [name.strip() for name in next(reader, [])]
            if not all(names) or len(set(names)) < len(names) or not names:
                raise ValueError(f"data.source: csv:{path}; allowed: a header of distinct names")
            rows, lines = [], []
            for row in reader:
                if numbers := _numbers(row, names, f"csv:{path} line {reader.line_num}"):
                    rows.append(numbers)
                    lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data.source: csv:{path} is not a CSV file: {error}") from None
    return names, np.array(rows).reshape(-1, len(names)), lines


def _numbers(row: list[str], names: list[str], where: str) -> list[float]:
    """A line's numbers; an empty line has none."""
    if not row:
        return []
    if len(row) != len(names):
        raise ValueError(f"data.source: {where} has {len(row)} cells; allowed: {len(names)}")
    numbers = []
    for name, cell in zip(names, row):
        try:
            numbers.append(float(cell))
        except ValueError:
            numbers.append(math.nan)
        if not abs(numbers[-1]) <= MAX_NUMBER:
            raise ValueError(
                f"data.source: {where} column {name!r}: {cell!r}; "
                f"allowed: a finite number of at most {MAX_NUMBER:.1e}"
            )
    return numbers


def _batch(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of features and, last, target."""
    return {"x": rows[:, :-1].copy(), "y": rows[:, -1].copy(), "weight": np.ones(len(rows), "f4")}
