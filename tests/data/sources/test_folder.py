import gzip
import hashlib
import json
import lzma
import os

import numpy as np
import pyarrow
import pytest

import data
from data.sources import files
from data.sources.documents import FolderDocuments, is_validation
from tests.data.conftest import write_folder

PACKERS = {
    "": bytes,
    ".gz": lambda text: gzip.compress(text, mtime=0),  # else the name of a test tells the time
    ".xz": lzma.compress,
    ".zst": lambda content: pyarrow.compress(content, codec="zstd", asbytes=True),
}


def write(folder, **contents):
    """Files of these contents, `a__txt` for a.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_bytes(content)


def lines(texts, field="text"):
    return "".join(json.dumps({field: text}) + "\n" for text in texts).encode()


def words(size, seed):
    return " ".join(np.random.default_rng(seed).choice(["ab", "cde", "fgh\n"], size // 4)).encode()


def test_many_files_are_split_by_a_hash_of_their_content(folder):
    texts = [text.encode() for text in write_folder(folder)]
    documents = FolderDocuments(folder)
    held_out = {text for side, text in documents if side}
    assert held_out == {t for t in texts if is_validation(hashlib.sha256(t).digest())}
    assert documents.rule == "by a hash of the content"
    # Files that are added do not move the others.
    (folder / "new.txt").write_text("one more document")
    assert set(documents) < set(FolderDocuments(folder))


def test_a_copy_of_a_file_adds_nothing(folder):
    texts = write_folder(folder)
    before = FolderDocuments(folder)
    (folder / "copy.txt").write_text(texts[0], encoding="utf-8")
    (folder / "copy.md").write_text(texts[1].replace("\n", "\r\n"), encoding="utf-8-sig")
    (folder / "empty.txt").write_text("  \n")
    (folder / "only-bom.txt").write_bytes(b"\xef\xbb\xbf")
    (folder / "other.html").write_text("of a kind that is not read")
    after = FolderDocuments(folder)
    assert list(after) == list(before)
    assert after.note == "1 files of other kinds left out"


@pytest.mark.parametrize("seed", range(4))
def test_train_and_val_files_are_what_they_say(empty_cache, text_options, folder, seed):
    train, val = words(20_000, seed), words(400, seed + 100)
    write(folder, train__txt=train, val__txt=val)
    options = text_options | {"source": f"folder:{folder}", "sequence_length": 16}
    dataset = data.open_dataset("text", options)
    assert (dataset.train_rows, dataset.eval_rows) == (len(train) // 16, len(val) // 16)
    assert dataset.note == (
        f"folder:{folder}: 1 document, {len(train):,} bytes to train on; 1 document, "
        f"{len(val):,} bytes ({len(val) / len(train + val):.1%}) held out: by name"
    )
    # The same content under other names is another split, so it has another place in the cache.
    os.rename(folder / "train.txt", folder / "valid.txt")
    os.rename(folder / "val.txt", folder / "training.txt")
    swapped = data.open_dataset("text", options)
    assert swapped.train_rows == dataset.eval_rows


def test_names_of_folders_count_and_a_test_side_is_left_out(folder):
    write(folder / "train", a__txt=b"to train on")
    write(folder / "val", a__txt=b"to score on")
    write(folder / "test", a__txt=b"for neither", b__txt=b"to train on")
    write(folder / "train", b__txt=b"and this")
    # What is in the test side as well is not trained on.
    documents = FolderDocuments(folder)
    assert set(documents) == {(False, b"and this"), (True, b"to score on")}
    assert documents.rule == "by name; 2 named as test left out"


@pytest.mark.parametrize("seed", range(4))
def test_the_larger_of_two_files_is_not_held_out(folder, seed):
    write(folder, a__txt=words(20_000, seed), b__txt=words(100 << seed, seed + 100))
    documents = list(FolderDocuments(folder))
    held_out = sum(len(text) for side, text in documents if side)
    assert 0.01 < held_out / sum(len(text) for _, text in documents) < 0.06


def test_one_file_is_cut_at_a_line(folder):
    content = b"".join(b"line %d of this text\n" % i for i in range(200))
    write(folder, input__txt=content)
    documents = FolderDocuments(folder)
    (first, train), (second, val) = documents
    assert (first, second, train + val) == (False, True, content)
    assert train.endswith(b"\n")
    assert 0.03 < len(val) / len(content) < 0.06
    assert documents.rule == "the end of every document"


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_files_are_read_as_the_plain_ones(empty_cache, folder, packing):
    texts = [f"text {i} über\nalles".replace("8", "8\r\n") for i in range(600)]
    pack = PACKERS[packing]
    write(
        folder,
        **{
            f"A__TXT{packing}": pack(b"\xef\xbb\xbfone\r\nfile"),
            f"b__md{packing}": pack(b"another"),
            f"c__jsonl{packing}": pack(b"\xef\xbb\xbf" + lines(texts) + b"\r\n" + lines(["", " "])),
        },
    )
    expected = {"one\nfile", "another", *(text.replace("\r\n", "\n") for text in texts)}
    for _ in range(2):
        documents = FolderDocuments(folder)
        assert {text.decode() for _, text in documents} == expected
        assert list(documents) == list(documents)
    assert list(empty_cache.iterdir()) == []  # the copy of the lines has no name


def test_lines_are_of_the_field_text_or_the_only_string(empty_cache, folder):
    write(folder, a__jsonl=lines(["one", "one", " "], "body"))
    documents = FolderDocuments(folder)
    assert list(documents) == [(False, b"on"), (True, b"e")]
    assert documents.rule.endswith("; text of the field 'body'")
    write(folder, a__jsonl=b'{"id": "7", "n": 1, "text": "three"}\n')
    assert b"".join(text for _, text in FolderDocuments(folder)) == b"three"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": ', "line 2 is not JSON"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b'["a"]\n', "line 1; allowed: a JSON object"),
        (b'{"id": "7", "body": "b"}\n', "line 1 has the strings id, body; allowed: a field text"),
        (b'{"n": 7}\n', "line 1 has the strings (none)"),
        (b'{"text": "a"}\n\n{"text": null}\n', "line 3 field 'text'; allowed: a string"),
        (b'{"text": "a"}\n{"body": "b"}\n', "line 2 field 'text'; allowed: a string"),
        (b'{"text": "\\u0000"}\n', "line 1 field 'text' has a zero byte"),
        (b'{"text": "\\ud800"}\n', "line 1 field 'text' is not UTF-8 text"),
        (b'{"text": "\xff"}\n', "line 1 is not JSON"),
    ],
)
def test_a_line_that_is_not_a_text_is_refused(empty_cache, folder, content, message):
    write(folder, bad__jsonl=content)
    with pytest.raises(ValueError, match=r"bad\.jsonl") as caught:
        list(FolderDocuments(folder))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.txt", "text".encode("utf-16"), "(byte 0); allowed: UTF-8, as from iconv -f UTF-16"),
        ("bad.txt", "café".encode("latin-1"), "(byte 3); allowed: UTF-8, as from iconv -f LATIN1"),
        ("bad.txt", b"text\0with a zero", "has a zero byte"),
        ("bad.txt", b"long" * 100, "too many bytes; allowed: at most 300 a file"),
        ("bad.txt.gz", PACKERS[".gz"](b"long" * 100), "too many bytes; allowed: at most 300"),
        ("bad.txt.xz", lzma.compress(b"long" * 100), "too many bytes; allowed: at most 300 a file"),
        ("bad.txt.zst", PACKERS[".zst"](b"long" * 100), "too many bytes; allowed: at most 300"),
        ("bad.jsonl.gz", PACKERS[".gz"](b'{"text": "a"}\n' * 100_000), "too many bytes"),
        ("bad.jsonl", lines(["long" * 100]), "line 1; allowed: at most 300 bytes a line"),
        ("bad.md.gz", PACKERS[".gz"](b"text")[:-4], "cannot be unpacked"),
        ("bad.md.gz", b"text", "cannot be unpacked"),
        ("bad.md.xz", lzma.compress(b"text")[:-4], "cannot be unpacked"),
        ("bad.md.xz", b"text", "cannot be unpacked"),
        ("bad.md.zst", PACKERS[".zst"](b"text")[:-4], "cannot be unpacked"),
        ("bad.md.zst", b"text", "cannot be unpacked"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_text_is_refused(
    empty_cache, folder, monkeypatch, name, content, message
):
    monkeypatch.setattr(files, "MAX_BYTES", 300)
    write(folder, good__txt=b"good", **{name.replace(".", "__"): content})
    with pytest.raises(ValueError, match=r"bad\.") as caught:
        list(FolderDocuments(folder))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_text_is_refused(folder):
    write(folder, a__txt=b"\n \n", b__html=b"<p>")
    with pytest.raises(ValueError, match=r"has no text; allowed: files that end in \.txt, \.md"):
        list(FolderDocuments(folder))


def test_links_to_folders_are_followed_and_loops_are_not(folder, tmp_path):
    write(tmp_path / "elsewhere", a__txt=b"linked")
    write(folder / "inner", b__txt=b"inner")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "inner" / "loop").symlink_to(folder)
    (folder / "file.txt").symlink_to(folder / "inner" / "b.txt")
    os.mkfifo(folder / "pipe.txt")
    found = b"".join(text for _, text in FolderDocuments(folder))
    assert sorted(found) == sorted(b"linkedinner")


def test_a_link_that_leads_nowhere_is_named(folder):
    write(folder, a__txt=b"here")
    (folder / "b.txt").symlink_to(folder / "gone")
    with pytest.raises(FileNotFoundError, match=r"b\.txt"):
        FolderDocuments(folder)


def test_a_file_that_changes_while_it_is_read_is_said(folder):
    write(folder, a__txt=b"before", b__txt=b"other")
    documents = FolderDocuments(folder)
    write(folder, a__txt=b"after!")
    with pytest.raises(OSError, match=r"a\.txt changed while it was read"):
        list(documents)
    documents = FolderDocuments(folder)
    texts = iter(documents)
    next(texts)  # the index is made
    write(folder, a__txt=b"later!", b__txt=b"later")
    with pytest.raises(OSError, match=r"\.txt changed while it was read"):
        list(texts)
