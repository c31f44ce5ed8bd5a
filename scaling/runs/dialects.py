"""Anyone's CSV as columns of text, and what number a cell says.

Encoding, separator, comments, units under the header and the decimal sign are found from the file.
What has one meaning is read; what may mean two numbers is refused, with what to write instead.
"""

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from train.cli import InputError

MAX_BYTES = 2**28  # unpacked
MAX_ROWS = 10_000_000
SUFFIXES = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_UNPACK = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_MARKS = (  # the longer first: UTF-16's is the beginning of UTF-32's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_SEPARATORS = ",;\t|"
_HEAD = 200  # lines within which the header must come
# What pandas and trackers write where there is nothing.
_NOTHING = frozenset(
    ("", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "-NaN", "-nan", "#N/A")
) | {"#N/A N/A", "#NA", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN"}
_DASHES = ("-", "--", "\u2013", "\u2014")
_NUMBER = re.compile(
    r"([+-]?)([\d.,_'\u2019\s]*\d[\d.,_'\u2019\s]*?)((?:e|d(?=[+-]))[+-]?\d+)?\s*([kmgbt%]?)", re.I
)
_COMMAS = re.compile(r"[+-]?[\d.]*,[\d.,]*(e[+-]?\d+)?", re.I)
_POINTS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+(,\d*)?|[+-]?\d*(,\d*)?(e[+-]?\d+)?", re.I)


@dataclass(frozen=True)
class Text:
    """A file's cells.

    Attributes:
      columns: name -> text of every row, None where the cell says nothing.
      lines: [rows], the line of each in the file.
      separator: between cells. units: name -> what a row of units under the header says.
      notes: for people, what was passed over.
    """

    path: str
    columns: dict[str, list[str | None]]
    lines: list[int]
    separator: str
    units: dict[str, str]
    notes: tuple[str, ...]


def read(path: str) -> Text:
    """Reads a CSV file, packed or not. Raises InputError naming the file and the line."""
    try:
        text, notes = _decode(path, _content(path))
        return _rows(path, text, notes)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, csv.Error) as error:
        raise InputError(f"--runs: {path} is not a readable CSV: {error}") from None
    except MemoryError:
        raise InputError(f"--runs: {path} does not fit the memory of this machine") from None


def frame(text: Text, numeric: Iterable[str] = ()) -> pd.DataFrame:
    """The columns typed: numbers, true and false, or text; the index is the line minus 2.

    `numeric` are the columns whose cells may decide which sign is the decimal one, 'decimal' in
    `attrs`. Columns that it does not fit are left as text.

    Raises:
      InputError: the signs in these columns contradict each other.
    """
    decimal = _decimal(text, [text.columns[name] for name in numeric if name in text.columns])
    made = {name: _typed(cells, decimal) for name, cells in text.columns.items()}
    result = pd.DataFrame(made)
    result.index = np.asarray(text.lines, np.int64) - 2
    notes = [*text.notes, *["the comma is read as the decimal sign"] * (decimal == ",")]
    result.attrs.update(
        source=text.path, lines=True, decimal=decimal, notes=notes, units=text.units
    )
    return result


def numbers(
    column: pd.Series, decimal: str, what: str, suffix: bool = False, percent: bool = False
) -> tuple[pd.Series, str]:
    """A column as numbers, and in words how the first that is not plainly one was read ('' if none)

    Args:
      column: of a `frame`. decimal: its decimal sign.
      what: whose column it is, for messages. suffix: 7B may stand for 7e9. percent: all may be
        percentages, which are divided by 100.

    Raises:
      InputError: with the line of the first cell that is not a number.
    """
    if column.dtype != object and not pd.api.types.is_string_dtype(column):
        return column, ""
    values, said = [], ""
    cells = [None if pd.isna(cell) or cell in _DASHES else str(cell) for cell in column]
    filled = [cell for cell in cells if cell is not None]
    percent = percent and all(cell.endswith("%") for cell in filled)
    for line, cell in zip(column.index, cells):
        value = np.nan if cell is None else number(cell, decimal, suffix, percent)
        if value is None:
            raise InputError(f"{what}, line {line + 2}: {cell!r}; {_hint(cell, decimal)}")
        if not said and cell is not None and not re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell):
            said = f"{cell!r} is read as {value:.10g}"
        values.append(value)
    return pd.Series(values, column.index, np.float64), said


def number(cell: str, decimal: str = ".", suffix: bool = False, percent: bool = False):
    """The number that a cell says beyond doubt, or None.

    Digits may be grouped by threes (1,000,000, 1 000 000, 1_000_000, 1'000'000), the minus may be
    typographic, the exponent Fortran's (1.0D+3); hexadecimal is 0x..
    """
    text = cell.strip().replace("\u2212", "-").replace("\ufe63", "-").replace("\uff0d", "-")
    if re.fullmatch(r"0x[0-9a-f]{1,16}", text, re.I):
        return float(int(text, 16))
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return float(text)
    found = _NUMBER.fullmatch(text)
    if not found or (found[4] == "%" and not percent) or (found[4].isalpha() and not suffix):
        return None
    whole, _, rest = found[2].strip().partition(decimal)
    groups = re.split(r"[,._'\u2019\s]", whole)
    same = len(set(re.findall(r"[,._'\u2019\s]", whole))) <= 1
    if len(groups) > 1 and (
        not same or any(len(g) != 3 for g in groups[1:]) or not 1 <= len(groups[0]) <= 3
    ):
        return None
    if rest and not rest.isdecimal():
        return None
    exponent = "e" + found[3][1:] if found[3] else ""
    try:
        value = float(f"{found[1]}{''.join(groups)}.{rest}{exponent}")
    except ValueError:
        return None
    return value / 100 if found[4] == "%" else value * SUFFIXES.get(found[4].upper(), 1)


def _hint(cell: str, decimal: str) -> str:
    if decimal == "," and "." in cell:
        return "a number; elsewhere in this file the comma is the decimal sign"
    if cell.endswith("%"):
        return "a number without a percent sign"
    return "a number such as 7e9 or 0.125"


def _content(path: str) -> bytes:
    """The file's bytes, unpacked by its name's ending; never more than are allowed."""
    ending = Path(path).suffix.lower()
    if ending == ".zip":
        with zipfile.ZipFile(path) as archive:
            if len(names := archive.namelist()) != 1:
                raise InputError(f"--runs: {path} holds {len(names)} files; one CSV")
            with archive.open(names[0]) as file:
                content = file.read(MAX_BYTES + 1)
    else:
        with _UNPACK.get(ending, open)(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InputError(f"--runs: {path} has more than {MAX_BYTES:,} bytes, which are the most")
    return content


def _decode(path: str, content: bytes) -> tuple[str, list[str]]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding), []
            except UnicodeDecodeError as error:
                raise InputError(f"--runs: {path} is not a readable CSV: {error}") from None
    if (place := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise InputError(
            f"--runs: {path}, line {line}: a NUL byte; the file is damaged or in another encoding: "
            "save it as UTF-8"
        )
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        note = "the file is not UTF-8 and was read as Windows-1252: some letters may be wrong"
        return content.decode("cp1252", "replace"), [note]


def _rows(path: str, text: str, notes: list[str]) -> Text:
    file = io.StringIO(text, newline=None)
    first, header, separator = _header(path, list(itertools.islice(file, _HEAD)))
    file.seek(0)
    for _ in range(first):
        next(file)
    names = [name.strip() for name in header]
    repeated = {name for name in names if name and names.count(name) > 1}
    if repeated:
        raise InputError(
            f"--runs: {path} has two columns named {sorted(repeated)[0]!r}; names must differ"
        )
    table: list[list[str | None]] = [[] for _ in names]
    lines = []
    reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells) or (cells[0].startswith("#") and len(cells) < max(len(names), 2)):
            continue
        if any(cells[len(names) :]):
            raise InputError(
                f"--runs: {path}, line {first + reader.line_num}: has more cells than its header "
                f"has names, {len(names)}; a comma inside a cell needs quotes around it"
            )
        for column, cell in itertools.zip_longest(table, cells[: len(names)], fillvalue=""):
            column.append(None if cell in _NOTHING else cell)
        lines.append(first + reader.line_num)
        if len(lines) > MAX_ROWS:
            raise InputError(f"--runs: {path} has more than {MAX_ROWS:,} rows, which are the most")
    if not lines:
        raise InputError(f"--runs: {path} has no rows below its header; one row a run is needed")
    # Nobody can name a column without a name: it is the row numbers of who wrote the file.
    columns = {
        name: cells
        for name, cells in zip(names, table)
        if name and not re.fullmatch(r"Unnamed: \d+", name)
    }
    units = _units(columns)
    if units:
        listed = ", ".join(repr(cell) for cell in units.values())
        notes = [*notes, f"line {lines[0]} holds no number ({listed}): taken as units, not a run"]
        columns = {name: cells[1:] for name, cells in columns.items()}
        lines = lines[1:]
    return Text(path, columns, lines, separator, units, tuple(notes))


def _header(path: str, head: list[str]) -> tuple[int, list[str], str]:
    """Lines up to the first row, the header's cells and the separator."""
    comment = None
    for place, line in enumerate(head):
        if line.strip().startswith("#"):
            comment = place
        elif "".join(line.split()).strip(_SEPARATORS):
            break
    else:
        raise InputError(f"--runs: {path} has no header line; a line with the columns' names")
    separator = max(_SEPARATORS, key=lambda sign: _agreement(head[place : place + 20], sign))
    cells = _cells(head[place], separator)
    if any(number(cell) is None for cell in cells):
        return place + 1, cells, separator
    above = _cells(head[comment].strip().lstrip("#"), separator) if comment is not None else []
    if len(above) != len(cells):
        raise InputError(
            f"--runs: {path}, line {place + 1}: numbers where the columns' names are needed; add a "
            "header line"
        )
    return place, above, separator


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except (csv.Error, StopIteration):
        return [line]


def _agreement(lines: list[str], separator: str) -> tuple[bool, float, int]:
    """How well a separator splits the lines: whether it does, evenly, and into how many cells."""
    counts = [len(_cells(line, separator)) for line in lines if line.strip()]
    return counts[0] > 1, counts.count(counts[0]) / len(counts), counts[0]


def _units(columns: dict[str, list[str | None]]) -> dict[str, str]:
    """The first row if it holds no number above columns that otherwise hold only numbers."""
    first = {name: cells[0] for name, cells in columns.items() if cells[0] is not None}
    if any(number(cell, suffix=True, percent=True) is not None for cell in first.values()):
        return {}
    for name in first:
        below = [cell for cell in columns[name][1:] if cell is not None]
        if below and all(number(c, suffix=True, percent=True) is not None for c in below):
            return first
    return {}


def _decimal(text: Text, columns: list[list[str | None]]) -> str:
    """The decimal sign of the file, by the cells of these columns that leave no doubt."""
    comma = point = doubt = None
    for cell in itertools.chain.from_iterable(columns):
        if cell is None or "," not in cell or not _COMMAS.fullmatch(cell):
            continue
        head, _, tail = re.split("e", cell.lstrip("+-"), flags=re.I)[0].rpartition(",")
        if "," in head or "." in tail:
            point = point or cell
        elif len(tail) != 3 or head in ("", "0") or "." in head or len(head) > 3:
            comma = comma or cell
        else:
            doubt = doubt or cell
    if comma and point:
        raise InputError(
            f"--runs: {text.path}: {comma!r} has a decimal comma, {point!r} has not; one of them"
        )
    if comma:
        return ","
    # With commas between cells the decimal sign is the point nearly everywhere.
    if doubt and not point and text.separator != ",":
        raise InputError(
            f"--runs: {text.path}: {doubt!r} may be {doubt.replace(',', '.')} or "
            f"{doubt.replace(',', '')}; write one of these"
        )
    return "."


def _typed(cells: list[str | None], decimal: str) -> pd.Series:
    filled = [cell for cell in cells if cell is not None]
    signs = [cell for cell in filled if "." in cell or "," in cell]
    if decimal == "," and signs and all(_POINTS.fullmatch(cell) for cell in filled):
        cells = [c if c is None else c.replace(".", "").replace(",", ".") for c in cells]
    elif decimal == "," and signs:
        return pd.Series(cells)
    values = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce")
    if values.notna().sum() == len(filled):
        return values if filled else values.astype(np.float64)
    if len(filled) == len(cells) and {cell.lower() for cell in cells} <= {"true", "false"}:
        return pd.Series([cell.lower() == "true" for cell in cells])
    return pd.Series(cells)
