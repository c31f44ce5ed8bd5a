"""A regression data set from a CSV file with a header: numbers only, one column the target."""

import csv
import hashlib
import math
from pathlib import Path

import numpy as np

from data import order

EVAL_SHARE = 0.2
MAX_FILE_BYTES = 1 << 30


class TableDataset:
    """A table in memory; see data.Dataset.

    Columns and target are standardised by the mean and standard deviation of the training rows, so
    a mean squared error of 1 is that of the training mean. A fifth of the rows, by a hash of their
    numbers, are held out: equal rows are on one side.
    """

    unit = "sample"
    units_per_example = 1
    eval_bytes = None
    vocab_size = None

    def __init__(self, path: str, target: str, features: int, eval_examples: int):
        names, table = read_table(Path(path).expanduser())
        if target not in names:
            raise ValueError(f"data.target: {target!r}; allowed: {', '.join(names)}")
        columns = [i for i, name in enumerate(names) if name != target]
        if not 0 <= features <= len(columns) or not columns:
            raise ValueError(f"data.features: {features}; allowed: 0 (all) to {len(columns)}")
        if eval_examples < 0:
            raise ValueError(f"data.eval_examples: {eval_examples}; allowed: 0 (all) or more")
        digests = [hashlib.sha256(row.tobytes()).digest() for row in table]
        held_out = np.array([digest[0] < EVAL_SHARE * 256 for digest in digests])
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"data.source: csv:{path}: {len(table)} rows; allowed: enough to hold out a fifth"
            )
        columns = [*columns[: features or None], names.index(target)]
        chosen = table[:, columns]
        mean, spread = chosen[~held_out].mean(axis=0), chosen[~held_out].std(axis=0)
        if spread[-1] == 0:
            raise ValueError(f"data.target: {target!r} is constant over the training rows")
        # A constant column carries nothing; it becomes 0.
        scaled = ((chosen - mean) / np.where(spread > 0, spread, 1)).astype(np.float32)
        self._train = scaled[~held_out]
        self._eval = scaled[held_out][: eval_examples or None]
        self.train_examples, self.eval_examples = len(self._train), len(self._eval)
        content = hashlib.sha256(b"table 1" + self._train.tobytes() + self._eval.tobytes())
        content.update(f"{self._train.shape} {self._eval.shape}".encode())
        self.digest = content.hexdigest()

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset: `x` float32 [B / K, P], `y` and `weight` float32 [B / K]."""
        examples = order.example_indices(seed, step, batch_size, shard, self.train_examples)
        return _batch(self._train[examples])

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset: `x` float32 [B, P], `y` and `weight` float32 [B]."""
        rows = order.eval_rows(index, batch_size, self.eval_examples)
        return order.pad(_batch(self._eval[rows.start : rows.stop]), batch_size)


def read_table(path: Path) -> tuple[list[str], np.ndarray]:
    """Column names and float64 [rows, columns]; errors name the line and the column."""
    if not path.is_file():
        raise FileNotFoundError(f"data.source: csv:{path}; there is no such file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"data.source: csv:{path}; allowed: at most {MAX_FILE_BYTES} bytes")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            names = [name.strip() for name in next(reader, [])]
            if not all(names) or len(set(names)) < len(names) or not names:
                raise ValueError(f"data.source: csv:{path}; allowed: a header of distinct names")
            rows = [_numbers(row, names, f"csv:{path} line {reader.line_num}") for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data.source: csv:{path} is not a CSV file: {error}") from None
    return names, np.array([row for row in rows if row]).reshape(-1, len(names))


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
        if not math.isfinite(numbers[-1]):
            raise ValueError(
                f"data.source: {where} column {name!r}: {cell!r}; allowed: a finite number"
            )
    return numbers


def _batch(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of features and, last, target."""
    return {"x": rows[:, :-1].copy(), "y": rows[:, -1].copy(), "weight": np.ones(len(rows), "f4")}
