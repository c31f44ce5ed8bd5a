import fcntl
import json
import os
import threading

import numpy as np
import pytest

import data
from data.sources import cache, tokens
from tests.data.conftest import write_folder


@pytest.fixture
def options(empty_cache, text_options, folder):
    """A text data set whose cache entry is the only one."""
    write_folder(folder)
    return text_options | {"source": f"folder:{folder}"}


def zero(path):
    """Zeroes the content of an .npy file, its size and time of modification kept."""
    before = path.stat()
    array = np.load(path, mmap_mode="r+")
    array[:] = 0
    array.flush()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def retype(path):
    """Says in an .npy file's header that its numbers are of another type of the same size."""
    path.write_bytes(path.read_bytes().replace(b"'<u2'", b"'<i2'"))


DAMAGES = {
    "cut": lambda entry: (entry / "train.npy").write_bytes(b"\x93NUMPY"),
    "empty": lambda entry: (entry / "train.npy").write_bytes(b""),
    "zeroed": lambda entry: zero(entry / "train.npy"),
    "zeroed validation": lambda entry: zero(entry / "validation.npy"),
    "other bytes": lambda entry: zero(entry / "bytes.npy"),
    "other type": lambda entry: retype(entry / "train.npy"),
    "no JSON": lambda entry: (entry / "meta.json").write_text("{"),
    "other JSON": lambda entry: (entry / "meta.json").write_text("[1]"),
    "a file missing": lambda entry: (entry / "bytes.npy").unlink(),
}


def test_an_entry_is_used_again(options, empty_cache):
    digest = data.open_dataset("text", options).digest
    [entry] = empty_cache.iterdir()
    before = entry.stat().st_ino
    assert data.open_dataset("text", options).digest == digest
    assert entry.stat().st_ino == before


@pytest.mark.parametrize("stamped", [False, True])
def test_a_damaged_entry_is_said_and_built_again(
    options, empty_cache, capsys, monkeypatch, stamped
):
    if stamped:  # as if the streams were large
        monkeypatch.setattr(tokens, "CHECK_ALWAYS_BYTES", 0)
    whole = data.open_dataset("text", options)
    batch = whole.train_batch(0, 0, 8)
    [entry] = empty_cache.iterdir()
    for damage in DAMAGES.values():
        damage(entry)
        capsys.readouterr()
        found = data.open_dataset("text", options)
        assert found.digest == whole.digest
        for name, rows in batch.items():
            np.testing.assert_array_equal(found.train_batch(0, 0, 8)[name], rows)
        assert capsys.readouterr().err == f"{entry} is damaged: it is built again\n"
        assert list(empty_cache.iterdir()) == [entry]
        assert {path.suffix for path in entry.iterdir()} == {".npy", ".json"}


def test_large_streams_are_read_once_while_nobody_writes_them(options, empty_cache, monkeypatch):
    monkeypatch.setattr(tokens, "CHECK_ALWAYS_BYTES", 0)
    digest = data.open_dataset("text", options).digest
    [entry] = empty_cache.iterdir()
    read = []
    monkeypatch.setattr(tokens, "_sha256", lambda array: read.append(array) or b"")
    assert data.open_dataset("text", options).digest == digest
    assert not read
    # A digest is believed with the files for which it was found, and with no others.
    meta = json.loads((entry / "meta.json").read_text())
    (entry / "meta.json").write_text(json.dumps(meta | {"digest": "0" * 64}))
    assert tokens._open(entry) is None
    assert read


def test_an_entry_without_a_note_is_read(options, empty_cache):
    digest = data.open_dataset("text", options).digest
    [entry] = empty_cache.iterdir()
    meta = json.loads((entry / "meta.json").read_text())
    del meta["note"]
    (entry / "meta.json").write_text(json.dumps(meta))
    before = entry.stat().st_ino
    dataset = data.open_dataset("text", options)
    assert (dataset.digest, dataset.note, entry.stat().st_ino) == (digest, "", before)


@pytest.mark.parametrize(("umask", "folder_mode"), [(0o022, 0o755), (0o002, 0o775), (0o077, 0o700)])
def test_modes_are_those_of_the_umask(options, empty_cache, umask, folder_mode):
    before = os.umask(umask)
    try:
        data.open_dataset("text", options)
    finally:
        os.umask(before)
    [entry] = empty_cache.iterdir()
    assert entry.stat().st_mode & 0o777 == folder_mode
    assert {path.stat().st_mode & 0o777 for path in entry.iterdir()} == {folder_mode & 0o666}


def test_a_cache_that_cannot_be_written_serves_what_it_has(options, monkeypatch):
    digest = data.open_dataset("text", options).digest

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "_opened", refuse)  # as root, modes would not refuse
    assert data.open_dataset("text", options).digest == digest
    with pytest.raises(
        OSError, match=r"ALLOMETRY_CACHE: cannot write .* \(Permission denied\); set"
    ):
        data.open_dataset("text", options | {"tokenizer": "bpe:300"})


def test_an_entry_that_cannot_be_read_is_not_replaced(options, empty_cache, monkeypatch):
    data.open_dataset("text", options)
    [entry] = empty_cache.iterdir()
    before = entry.stat().st_ino

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(entry))

    monkeypatch.setattr(np.lib.format, "open_memmap", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        data.open_dataset("text", options)
    assert entry.stat().st_ino == before


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch, text_options):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ALLOMETRY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="ALLOMETRY_CACHE: cannot write"):
        data.open_dataset("text", text_options)


def test_no_home_and_no_cache_is_one_line(monkeypatch):
    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("ALLOMETRY_CACHE", raising=False)
    monkeypatch.setattr(cache.Path, "expanduser", homeless)
    with pytest.raises(OSError, match=r"ALLOMETRY_CACHE: Could not .*; set this variable"):
        cache.folder()


def read(place):
    return (place / "content").read_text() if place.exists() else None


def test_a_build_that_fails_leaves_nothing(empty_cache):
    def build(folder):
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.entry("text-a", read, build)
    assert list(empty_cache.iterdir()) == []


def test_one_builds_and_the_others_wait(empty_cache, monkeypatch):
    builds, building, waiting, go_on = [], *(threading.Event() for _ in range(3))
    monkeypatch.setattr(cache, "print", lambda *_, **__: waiting.set(), raising=False)

    def build(folder):
        builds.append(folder)
        building.set()
        assert go_on.wait(60)
        (folder / "content").write_text("built")

    found = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.entry("text-a", read, build)))
        for _ in range(2)
    ]
    threads[0].start()
    assert building.wait(60)
    threads[1].start()
    assert waiting.wait(60)
    go_on.set()
    for thread in threads:
        thread.join()
    assert found == ["built", "built"]
    assert len(builds) == 1
    assert [path.name for path in empty_cache.iterdir()] == ["text-a"]


def test_what_killed_builders_left_is_swept_and_the_living_are_not(empty_cache):
    for name in ("dead", "alive"):
        (empty_cache / f".building-text-{name}.1234").mkdir(parents=True)
        (empty_cache / f".building-text-{name}.lock").touch()
    with (empty_cache / ".building-text-alive.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        cache.entry("text-a", read, lambda folder: (folder / "content").write_text("built"))
        left = {path.name for path in empty_cache.iterdir()}
    alive = {".building-text-alive.1234", ".building-text-alive.lock"}
    assert left == {"text-a", *alive}
