import gzip
import lzma

import numpy as np
import pytest

from data.sources import files, packages, ratings

INDEX = """Package: tea
Version: 1.2
Depends: water (>= 1.0), cup:any | mug,
 kettle [amd64] | stove, water (<< 2.0)
Description: leaves
 Depends: on no line that goes on

Version: 3
Package: water
Depends:

Package: mug
Pre-Depends: clay

Package: cake
Depends: tea
"""
PAIRS = [("tea", "water"), ("tea", "cup"), ("tea", "kettle"), ("tea", "water"), ("cake", "tea")]


def write(folder, content=INDEX, name="Packages"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def drawn_index(folder, name="Packages"):
    """40 packages, each of which depends on ten of thirty."""
    rng, stanzas = np.random.default_rng(0), []
    for number in range(40):
        on = ", ".join(f"lib{i} (>= {number})" for i in rng.permutation(30)[:10])
        stanzas.append(f"Package: tool{number}\nDepends: {on}\n")
    return f"debian:{write(folder, chr(10).join(stanzas), name)}"


def test_the_first_alternative_counts_without_its_version(tmp_path):
    assert list(packages.depends(write(tmp_path))) == PAIRS
    for pack, name in ((gzip.compress, "Packages.gz"), (lzma.compress, "Packages.xz")):
        assert list(packages.depends(write(tmp_path, pack(INDEX.encode()), name))) == PAIRS


def test_a_package_has_met_what_it_depends_on(tmp_path):
    path = write(tmp_path)
    found = ratings.find(f"debian:{path}", rated=False)
    assert (found.user_names, found.item_names) == (
        ("cake", "tea"),
        ("cup", "kettle", "tea", "water"),
    )
    assert (found.repeated, found.times, found.ratings.tolist()) == (1, None, [1.0] * 4)
    assert found.digest == files.digest(path)
    with pytest.raises(ValueError, match=r"'debian:.*'; allowed: msq, insteval, csv:PATH$"):
        ratings.known(f"debian:{path}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Package: tea\nnothing\n", "line 2: 'nothing'; allowed: FIELD: VALUE, as in an index"),
        (" water\n", "line 1: ' water'; allowed: FIELD"),
        ("Package: ale\n\n\nVersion: 1\n", "line 4: Package: ''; allowed: a name"),
        ("Package: tea\nDepends: ${misc:Depends}\n", r"line 1: Depends: '\$\{misc:Depends\}'; all"),
        (b"Package: t\xe9\n", "line 1 is not UTF-8 text"),
        (b"\x7fELF\0\0", "line 1 has a zero byte"),
        ("Package: tea\n", "depends on nothing; allowed: at least one package that does"),
        ("", "depends on nothing"),
    ],
)
def test_what_is_no_index(tmp_path, content, message):
    with pytest.raises(ValueError, match=message) as error:
        ratings.find(f"debian:{write(tmp_path, content)}", rated=False)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_unpacks_to_too_much_or_not_at_all(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"data\.source: debian:.*there is no such file"):
        ratings.state(f"debian:{tmp_path}/none")
    for content in (b"\x1f\x8b", gzip.compress(INDEX.encode())[:-9]):
        with pytest.raises(ValueError, match=r"Packages\.gz cannot be unpacked"):
            list(packages.depends(write(tmp_path, content, "Packages.gz")))
    monkeypatch.setattr(files, "MAX_BYTES", 1000)
    bomb = write(tmp_path, lzma.compress(b"Package: tea\n" + b"A: b\n" * 100_000), "Packages.xz")
    with pytest.raises(ValueError, match=r"Packages\.xz has too many bytes; allowed: at most"):
        list(packages.depends(bomb))


@pytest.fixture
def apt(tmp_path, empty_cache, monkeypatch):
    """Stands for the user's apt-get: does what a script says in the folder of its lists."""

    def make(script):
        path = tmp_path / "apt-get"
        path.write_text(
            '#!/bin/sh\n[ "$1 $2" = "update --config-file" ] || exit 1\n'
            'cd "$(/bin/sed -n \'s/Dir::State "\\(.*\\)";/\\1/p\' "$3")/lists" || exit 1\n' + script
        )
        path.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    return make


def test_the_largest_index_comes_by_apt_once(apt, empty_cache, tmp_path):
    index = write(tmp_path)
    apt(
        f"/bin/cp {index} deb.example_dists_stable_main_binary-amd64_Packages\n"
        "echo Package: tea > deb.example_dists_updates_main_binary-amd64_Packages\n"
        "echo 'E: another source does not answer' >&2\nexit 100\n"
    )
    assert ratings.known("debian", rated=False) is None
    assert len(ratings.find("debian", rated=False).users) == 4
    (entry,) = empty_cache.iterdir()
    assert [path.name for path in entry.iterdir()] == ["Packages"]
    before = ratings.state("debian")
    (tmp_path / "apt-get").unlink()
    assert ratings.state("debian") == before
    write(entry, INDEX + "\nPackage: bun\nDepends: tea\n")
    assert ratings.state("debian") != before


def test_where_no_index_comes_one_line_says_what_to_do(apt, empty_cache, tmp_path):
    with pytest.raises(OSError, match="there is no apt-get here; give a file by debian:PATH, or"):
        packages.fetched()
    for script, reason in (
        ("echo 'E: no network' >&2\nexit 100\n", "E: no network"),
        ("exit 0\n", "apt-get has no source of packages"),
    ):
        apt(script)
        with pytest.raises(OSError, match=reason) as error:
            packages.fetched()
        assert "\n" not in str(error.value)
    assert not list(empty_cache.glob("packages*"))
    (place := empty_cache / "packages").mkdir()
    write(place)
    assert packages.fetched() == place / "Packages"
