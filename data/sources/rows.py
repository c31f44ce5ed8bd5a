"""Rows of a person's own file: a text, or an image's path, and a label. CSV or lines of JSON.

A label is a class' number or its name. Where all are whole numbers from 0 on they are numbers, else
names, whose classes come in alphabetical order. What is wrong is one line that says where.
"""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.sources import files

KINDS = ("csv", "jsonl")
NUMBER = re.compile("[0-9]{1,9}")


class Rows(NamedTuple):
    """The rows of a file in its order."""

    values: list[str]
    labels: np.ndarray  # int64 [n]
    class_names: tuple[str, ...]  # () where labels are numbers


def read(source: str, column: str) -> Rows:
    """The rows of "csv:PATH" or "jsonl:PATH", which may be packed.

    Args:
      source: its columns, or fields, are `column` and label; others are passed over.
      column: what it calls the values.
    """
    kind, _, rest = source.partition(":")
    path, values, labels = files.user_path(rest), [], []
    if not path.is_file():
        raise FileNotFoundError(f"data.source: {source}; there is no such file")
    for where, value, label in (_csv if kind == "csv" else _json)(path, column):
        for name, given in ((column, value), ("label", label)):
            if not given.strip():
                raise ValueError(f"data.source: {where} has an empty {name}; allowed: a {name}")
        # Half of a surrogate pair, which JSON can spell, is no text: then this is not UTF-8.
        values.append(files.text(value.encode(errors="surrogatepass"), where).decode())
        labels.append(label.strip())
    if not values:
        raise ValueError(f"data.source: {source} has no rows; allowed: at least one a class")
    if all(map(NUMBER.fullmatch, labels)):
        return Rows(values, np.array(labels, np.int64), ())
    names, numbers = np.unique(labels, return_inverse=True)
    return Rows(values, numbers.astype(np.int64), tuple(names.tolist()))


def classes(
    source: str, what: str, names: tuple[str, ...], train: np.ndarray, labels: np.ndarray
) -> int:
    """How many classes there are.

    Args:
      source, what: to name, such as "digits" and "image".
      names: of the classes; () where labels are but numbers.
      train, labels: int64, those to train on and all, at least one.

    Raises:
      ValueError: one is out of range, or a class has none to train on.
    """
    count = len(names) or int(labels.max()) + 1
    if not 0 <= labels.min() <= labels.max() < count:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"data.source: {source} has label {wrong}; allowed: 0 to {count - 1}")
    present = np.unique(train)
    if len(present) < count:
        missing = next((i for i, label in enumerate(present) if i != label), len(present))
        called = f" ({names[missing]})" if names else ""
        raise ValueError(
            f"data.source: {source} has no training {what} of class {missing}{called}; "
            f"allowed: labels 0 to {count - 1}, each at least once"
        )
    return count


def table(
    path: Path, needed: Collection[str], optional: Collection[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each row of a CSV file is, and its cells in these columns; others are passed over.

    Args:
      path: of the file, which may be packed; its header names each column once.
      needed: columns that must be there.
      optional: those that may be.
    """
    try:
        with files.unpacked(path, files.most_bytes(path)) as file:
            reader = csv.reader(io.TextIOWrapper(file, newline="", encoding="utf-8-sig"))
            names = [name.strip() for name in next(reader, [])]
            if any(names.count(name) != 1 for name in needed) or any(
                names.count(name) > 1 for name in optional
            ):
                found = ", ".join(names) or "nothing"
                allowed = " and ".join(needed) + "".join(f", or {name} too" for name in optional)
                raise ValueError(f"data.source: {path} has the columns {found}; allowed: {allowed}")
            at = {name: names.index(name) for name in (*needed, *optional) if name in names}
            for row in filter(None, reader):
                where = f"{path} line {reader.line_num}"
                if len(row) != len(names):
                    cells = f"has {len(row)} cells; allowed: {len(names)}"
                    raise ValueError(f"data.source: {where} {cells}")
                yield where, {name: row[place] for name, place in at.items()}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data.source: {path} is not a CSV file: {error}") from None


def _csv(path: Path, column: str) -> Iterator[tuple[str, str, str]]:
    for where, cells in table(path, (column, "label")):
        yield where, cells[column], cells["label"]


def _json(path: Path, column: str) -> Iterator[tuple[str, str, str]]:
    for number, line in files.read_lines(path):
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"data.source: {where} is not JSON: {error}") from None
        value, label = (row.get(n) if isinstance(row, dict) else None for n in (column, "label"))
        if not isinstance(value, str) or type(label) not in (str, int):
            shape = f'{{"{column}": TEXT, "label": TEXT or NUMBER}}'
            raise ValueError(f"data.source: {where}; allowed: {shape}")
        yield where, value, str(label)
