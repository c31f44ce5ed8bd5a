import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import data
from data.sources.documents import EmbeddedDocuments, FolderDocuments, find_documents, is_validation
from data.sources.tokens import token_streams
from tests.data.conftest import write_folder

SEPARATOR = 256


def test_targets_are_the_next_tokens_of_real_documents(shared_cache, text_options):
    dataset = data.open_dataset("text", text_options)
    assert (dataset.unit, dataset.units_per_row, dataset.facts["vocab_size"]) == ("token", 64, 257)
    text = b"".join(b"\0" + t for held_out, t in EmbeddedDocuments() if not held_out)
    for step in (0, 7, 10**9):
        batch = dataset.train_batch(0, step, 4)
        np.testing.assert_array_equal(batch["tokens"][:, 1:], batch["targets"][:, :-1])
        for row in np.concatenate([batch["tokens"], batch["targets"][:, -1:]], axis=1):
            assert bytes(np.where(row == SEPARATOR, 0, row).astype(np.uint8)) in text
    assert batch["tokens"].dtype == batch["targets"].dtype == np.int32
    np.testing.assert_array_equal(batch["weight"], np.ones(4, np.float32))


def test_what_is_known_unopened_is_what_is_found(shared_cache, text_options):
    module = data.load("text")
    config = module.Config(**text_options)
    dataset, known = module.open(config), data.facts("text", config)
    assert {name: dataset.facts[name] for name in known} == known
    found, unopened = dataset.eval_batch(0, 1), data.spec("text", config)
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {
        k: (v.shape, v.dtype) for k, v in unopened.items()
    }
    with pytest.raises(ValueError, match=r"data\.sequence_length: 0; allowed: at least 1"):
        data.spec("text", module.Config(**text_options | {"sequence_length": 0}))


def test_an_epoch_reads_the_whole_stream_once(empty_cache, text_options, folder):
    texts = write_folder(folder)
    options = text_options | {"source": f"folder:{folder}", "sequence_length": 50}
    dataset = data.open_dataset("text", options)
    train = [text for text in texts if not is_validation(hashlib.sha256(text.encode()).digest())]
    length = sum(len(text.encode()) + 1 for text in train)
    assert dataset.train_rows == (length - 1) // 50
    tokens = dataset.train_batch(3, 0, dataset.train_rows)["tokens"]
    assert (tokens == SEPARATOR).sum() in (len(train), len(train) - 1)
    again = dataset.train_batch(3, 1, dataset.train_rows)["tokens"]
    assert (tokens != again).any()
    np.testing.assert_array_equal(np.sort(tokens, axis=0), np.sort(again, axis=0))


def test_a_batch_is_a_function_of_seed_and_step(shared_cache, text_options):
    dataset, again = (data.open_dataset("text", text_options) for _ in range(2))
    one = dataset.train_batch(5, 123, 12)["tokens"]
    np.testing.assert_array_equal(again.train_batch(5, 123, 12)["tokens"], one)
    shards = [again.train_batch(5, 123, 12, (k, 4))["tokens"] for k in range(4)]
    np.testing.assert_array_equal(np.concatenate(shards), one)
    # Batch 123 of 12 rows starts where batch 369 of 4 rows does.
    np.testing.assert_array_equal(again.train_batch(5, 369, 4)["tokens"], one[:4])
    assert (again.train_batch(6, 123, 12)["tokens"] != one).any()


def test_evaluation_is_padded_and_counts_its_bytes(shared_cache, text_options):
    options = text_options | {"eval_tokens": 64 * 21 + 5}
    dataset = data.open_dataset("text", options)
    assert dataset.eval_rows == 21
    batches = [dataset.eval_batch(index, 8) for index in range(3)]
    weight = np.concatenate([batch["weight"] for batch in batches])
    np.testing.assert_array_equal(weight, [1] * 21 + [0] * 3)
    targets = np.concatenate([batch["targets"] for batch in batches])
    assert targets.shape == (24, 64)
    assert dataset.facts["eval_bytes"] == (targets[:21] != SEPARATOR).sum()
    # A longer evaluation starts with the shorter one.
    longer = data.open_dataset("text", text_options | {"eval_tokens": 64 * 200})
    np.testing.assert_array_equal(longer.eval_batch(0, 21)["targets"], targets[:21])
    assert longer.digest != dataset.digest


def test_no_evaluation_window_is_in_the_training_stream(shared_cache, text_options):
    dataset = data.open_dataset("text", text_options)
    train = b"".join(text for held_out, text in EmbeddedDocuments() if not held_out)
    rows = dataset.eval_batch(0, 300)["tokens"]
    found = sum(bytes(row.astype(np.uint8)) in train for row in rows if SEPARATOR not in row)
    assert found <= 2  # a long formula of the Bible may come back word for word


def test_digests_tell_data_sets_apart(empty_cache, text_options, folder):
    write_folder(folder)
    options = text_options | {"source": f"folder:{folder}"}
    digests = {data.open_dataset("text", options).digest}
    digests.add(data.open_dataset("text", options | {"sequence_length": 65}).digest)
    digests.add(data.open_dataset("text", options | {"tokenizer": "bpe:300"}).digest)
    (folder / "new.txt").write_text("one more document")
    digests.add(data.open_dataset("text", options).digest)
    assert len(digests) == 4


def test_bpe_covers_every_byte_and_says_how_many(empty_cache, text_options, folder):
    texts = write_folder(folder)
    documents = FolderDocuments(folder)
    streams = token_streams(documents, "bpe:400")
    vocabulary = len(streams.token_bytes)
    assert 257 < vocabulary <= 400
    assert streams.token_bytes[-1] == 0
    for stream, held_out in ((streams.train, False), (streams.validation, True)):
        chosen = [text for side, text in documents if side == held_out]
        assert streams.token_bytes[stream].sum() == sum(map(len, chosen))
        assert (stream == vocabulary - 1).sum() == len(chosen)
    assert len(streams.train) < 0.5 * sum(len(text.encode()) for text in texts)
    options = text_options | {"source": f"folder:{folder}", "tokenizer": "bpe:400"}
    dataset = data.open_dataset("text", options)
    assert dataset.facts["vocab_size"] == vocabulary
    targets = dataset.eval_batch(0, dataset.eval_rows)["targets"]
    assert dataset.facts["eval_bytes"] == streams.token_bytes[targets].sum()
    # A prompt has the tokens that it has in the stream, from a tokenizer that is trained again.
    dataset = data.open_dataset("text", options | {"sequence_length": 600})
    batch, given = dataset.facts["prompt"]([chosen[0].decode(), "é"])
    assert batch["tokens"].shape == (2, 600)
    np.testing.assert_array_equal(
        batch["tokens"][0, : given[0]], streams.validation[1:][: given[0]]
    )
    assert streams.validation[1:][given[0]] == dataset.facts["end"]
    with pytest.raises(
        ValueError, match=r"prompt: 'file .*\.\.\.' has \d+ tokens; allowed: 1 to 600"
    ):
        dataset.facts["prompt"]([chosen[0].decode() * 9])


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:400"])
def test_tokens_are_told_as_text(empty_cache, text_options, folder, tokenizer):
    texts = write_folder(folder)
    options = {"source": f"folder:{folder}", "tokenizer": tokenizer, "sequence_length": 300}
    dataset = data.open_dataset("text", text_options | options)
    decode, whole = dataset.facts["decode"], "<|endoftext|>".join(["", *texts])
    for row in dataset.eval_batch(0, 2)["tokens"]:
        first, *rest = decode(row).split("<|endoftext|>")
        assert first[1:-1] in whole  # a window may begin and end within a character
        assert all(text[:-1] in whole for text in rest)
        assert len(decode(row)) > 250
    assert decode(np.array([10**6])) == ""  # of a model with more ids than there are tokens


OPEN_IN_A_PROCESS = """
import sys, data
options = {"source": sys.argv[1], "tokenizer": sys.argv[2], "sequence_length": 64, "eval_tokens": 0}
print(data.open_dataset("text", options).digest)
"""


@pytest.mark.parametrize("tokenizer", ["bytes", pytest.param("bpe:300", marks=pytest.mark.slow)])
def test_processes_that_build_at_once_agree(empty_cache, folder, tokenizer):
    write_folder(folder)
    command = [sys.executable, "-c", OPEN_IN_A_PROCESS, f"folder:{folder}", tokenizer]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(answers)) == 1
    assert len(answers[0].strip()) == 64
    entries = [path.name for path in empty_cache.iterdir()]
    assert len(entries) == 1
    assert entries[0].startswith("text-")
    # A second build in another cache gives the same tokens: nothing depends on time or process.
    environment["ALLOMETRY_CACHE"] = str(empty_cache) + "2"
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    assert again.stdout == answers[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "embeded"}, "data.source: 'embeded'; allowed: embedded, folder:PATH"),
        ({"source": "folder:"}, "data.source: 'folder:'; allowed"),
        ({"source": "folder:/nowhere/at/all"}, "there is no such folder"),
        ({"tokenizer": "words"}, "data.tokenizer: 'words'; allowed: bytes, bpe:VOCABULARY"),
        ({"tokenizer": "bpe:256"}, "a vocabulary of 258 to 1048576"),
        ({"tokenizer": "bpe:-1"}, "data.tokenizer"),
        ({"sequence_length": 0}, "data.sequence_length: 0; allowed: at least 1"),
        ({"sequence_length": 10**9}, "data.sequence_length: 1000000000; allowed: at most"),
        ({"eval_tokens": 63}, "data.eval_tokens: 63; allowed: 0 (all), or at least"),
        ({"eval_tokens": -64}, "data.eval_tokens: -64; allowed"),
        ({"wrong": 1}, "data.wrong: unknown; fields: cleaning, eval_tokens, "),
    ],
)
def test_bad_options_are_refused(shared_cache, text_options, change, message):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        data.open_dataset("text", text_options | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_option_and_an_unknown_data_set_are_refused(text_options):
    with pytest.raises(ValueError, match=r"data\.tokenizer: missing"):
        data.open_dataset("text", {k: v for k, v in text_options.items() if k != "tokenizer"})
    with pytest.raises(ValueError, match="'txt'; did you mean 'text'"):
        data.load("txt")
    with pytest.raises(ValueError, match=r"'order'; allowed: .*, text"):
        data.load("order")  # a module of the package that is no data set


def test_sources_are_found():
    assert isinstance(find_documents("embedded"), EmbeddedDocuments)
