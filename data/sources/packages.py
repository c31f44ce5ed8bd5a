"""Which packages a Debian package depends on: an index `Packages` (deb822(5)) as apt has it.

The user's own apt-get fetches the indexes of its sources into a folder of the cache, once; the
system's lists, cache and hooks are left alone, and it needs no rights. The largest of them is kept,
that of the release. It is no pinned file: it changes with releases and is another one on another
machine, so its sha256 is part of what a run says of its data.

Of a dependency with alternatives the first counts, without versions and architectures.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from data.sources import cache, files, wheel

ENTRY, FILE = "packages", "Packages"
FIELD = re.compile(r"([!-,.-9;-~][!-9;-~]*):(.*)")
NAME = r"[a-z0-9][a-z0-9+.-]+"
# Perhaps with an architecture, a version, and architectures and profiles that it is for.
RELATION = re.compile(rf"({NAME})(:[a-z0-9-]+)?\s*([(\[<].*)?")
# Whose hooks would clean the system's cache.
APT = """Dir::State "{folder}/state";
Dir::State::status "/dev/null";
Dir::Cache "{folder}/cache";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def fetched() -> Path:
    """Where the index that apt knows lies, once it came (OSError: a line that says what to do)."""
    return cache.entry(ENTRY, _whole, _fetch)


def depends(path: Path) -> Iterator[tuple[str, str]]:
    """Each package of an index, which may be packed, with each that it depends on.

    Raises ValueError, in one line, where the file is no index or has too many bytes.
    """
    for where, fields in _stanzas(path):
        package = fields.get("Package", "")
        if not re.fullmatch(NAME, package):
            raise ValueError(f"data.source: {where}: Package: {package!r}; allowed: a name")
        for relation in filter(None, map(str.strip, fields.get("Depends", "").split(","))):
            first = relation.partition("|")[0].strip()
            if not (found := RELATION.fullmatch(first)):
                given = f"data.source: {where}: Depends: {first[:80]!r}"
                raise ValueError(f"{given}; allowed: a name and perhaps a version")
            yield package, found[1]


def _stanzas(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Where each stanza begins, and its fields, in one line each."""
    fields, name, begins = {}, None, 1
    with files.unpacked(path, files.most_bytes(path)) as file:
        for number, line in enumerate(file, 1):
            where = f"{path} line {number}"
            text = files.text(line, where).decode().rstrip()
            if not text:
                if fields:
                    yield f"{path} line {begins}", fields
                fields, name = {}, None
            elif text[0] in " \t" and name:
                fields[name] += text
            elif found := FIELD.fullmatch(text):
                begins = begins if fields else number
                name = found[1]
                fields[name] = found[2].strip()
            else:
                allowed = "FIELD: VALUE, as in an index of apt"
                raise ValueError(f"data.source: {where}: {text[:80]!r}; allowed: {allowed}")
    if fields:
        yield f"{path} line {begins}", fields


def _whole(entry: Path) -> Path | None:
    index = entry / FILE
    return index if index.is_file() else None


def _fetch(folder: Path) -> None:
    """Has apt-get fetch its indexes and leaves the largest in a folder, alone."""
    print("fetching the index of packages by apt-get (about 10 MB)", file=sys.stderr)
    for needed in ("state/lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True)
    settings = folder / "apt.conf"
    settings.write_text(APT.format(folder=folder))
    failed = wheel.ask("apt-get", ["update", "--config-file", str(settings)], folder)
    # Other sources of the user may fail, and what apt cannot verify it does not keep.
    found = list((folder / "state" / "lists").glob(f"*_{FILE}"))
    if not found:
        raise OSError(
            f"data.source: debian: no index of packages can be fetched: "
            f"{failed or 'apt-get has no source of packages'}; give a file by debian:PATH, or copy "
            f"one to {cache.folder() / ENTRY / FILE}"
        )
    max(found, key=lambda path: path.stat().st_size).rename(folder / FILE)
    for rest in ("state", "cache"):
        shutil.rmtree(folder / rest)
    settings.unlink()
