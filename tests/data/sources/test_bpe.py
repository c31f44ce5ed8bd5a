import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors, trainers

import data
from data.sources import bpe, tokenizer_file
from data.sources.tokens import token_streams
from tests.data.conftest import TEXT, write_folder


class Documents:
    """Two documents."""

    fingerprint, rule, note = "two", "", ""

    def __iter__(self):
        yield False, b"some text"
        yield True, b"other text"


class Stop(BaseException):
    """What a handler of a signal raises."""


def test_a_signal_ends_a_build_at_once(empty_cache, monkeypatch):
    # A tokenizer that never answers, as the library does not for minutes.
    forever = (sys.executable, "-c", "import signal; signal.pause()")
    monkeypatch.setattr(bpe, "COMMAND", forever)
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)
            signal.setitimer(signal.ITIMER_REAL, 0.1)

    monkeypatch.setattr(subprocess, "Popen", Recorded)

    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(Stop):
            token_streams(Documents(), "bpe:300")
    finally:
        signal.signal(signal.SIGALRM, before)
    [process] = started
    assert process.returncode == -signal.SIGKILL
    assert list(empty_cache.iterdir()) == []


def test_a_tokenizer_that_dies_is_said_in_a_line(empty_cache, monkeypatch):
    monkeypatch.setattr(bpe, "COMMAND", (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(OSError, match=r"data\.tokenizer: its process ended with exit code 7"):
        token_streams(Documents(), "bpe:300")
    assert list(empty_cache.iterdir()) == []


def test_the_tokenizer_ends_with_the_process_that_started_it():
    # Busy for ever, it still sees the other end of its pipe close.
    busy = (
        "import sys, threading; from data import bpe\n"
        "threading.Thread(target=bpe._end_with, args=[sys.stdin.buffer], daemon=True).start()\n"
        "while True: pass"
    )
    environment = os.environ | {"PYTHONPATH": str(bpe.ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, env=environment
    ) as process:
        process.stdin.close()
        assert process.wait(timeout=60) == 1


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """A tokenizer.json as people publish them, and the library's own tokenizer."""
    made = tokenizers.Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(tokenizers.Regex(r"\d{1,3}|\D+"), "isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([cut, whole])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(["alpha beta gamma 12345 delta"] * 9, trainer)
    made.add_special_tokens(["<|é|>", "<s>"])
    # What it would put before each text is no part of it.
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    path = tmp_path_factory.mktemp("published") / "tokenizer.json"
    made.save(str(path))
    return path, made


def test_a_tokenizer_of_a_file_gives_its_tokens_and_every_byte(empty_cache, tmp_path, others):
    path, made = others
    texts = write_folder(tmp_path / "texts", count=20)
    (tmp_path / "texts" / "odd.txt").write_text("<|é|> 1234 \u20ac\n\n  alpha")
    options = {"source": f"folder:{tmp_path / 'texts'}", "tokenizer": f"json:{path}"}
    dataset = data.open_dataset("text", TEXT | options | {"sequence_length": 700})
    size = made.get_vocab_size()
    assert dataset.facts["vocab_size"] == size + 1
    assert data.facts("text", data.load("text").Config(**TEXT | options))["vocab_size"] == size + 1
    for text in (texts[0][:200], "<|é|> 1234 \u20ac\n\n  alpha"):
        batch, (given,) = dataset.facts["prompt"]([text])
        own = batch["tokens"][0, :given]
        np.testing.assert_array_equal(own, made.encode(text, add_special_tokens=False).ids)
        assert dataset.facts["decode"](own) == text
    # The streams of another file are others, whatever its name.
    before = dataset.digest
    found = json.loads(path.read_text())
    found["model"]["merges"] = []
    other = tmp_path / "other.json"
    other.write_text(json.dumps(found))
    again = data.open_dataset("text", TEXT | options | {"tokenizer": f"json:{other}"})
    assert again.digest != before
    assert again.train_rows > 64 / 700 * dataset.train_rows


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda x: x.update(normalizer={"type": "NFC"}), "alters texts"),
        (lambda x: x["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True), "alters"),
        (lambda x: x["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"), "another"),
        (lambda x: x["model"].update(type="Unigram"), "is of another kind"),
        (lambda x: x.update(pre_tokenizer=None), "is of another kind"),
        (lambda x: x.update(truncation={"max_length": 5}), "cuts or pads texts"),
        (lambda x: x["added_tokens"][0].update(lstrip=True), "cuts or pads texts"),
        (lambda x: x["model"]["vocab"].pop("!"), "lacks some of the 256 bytes"),
        (lambda x: x["model"]["vocab"].update(alpha_=1 << 40), "is no tokenizer.json"),
        (lambda x: x.pop("model"), "is no tokenizer.json"),
    ],
)
def test_a_tokenizer_that_would_lose_bytes_is_refused(others, tmp_path, change, says):
    found = json.loads(others[0].read_text())
    change(found)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=rf"data\.tokenizer: .*tokenizer\.json .*{says}"):
        tokenizer_file.pieces(f"json:{path}")


def test_a_file_that_is_none_is_said_in_a_line(tmp_path):
    for content, says in ((b"[1", "is no tokenizer.json"), (b"\xff", "is not UTF-8 text")):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(ValueError, match=says):
            tokenizer_file.pieces(f"json:{tmp_path / 'bad.json'}")
    with pytest.raises(ValueError, match=r"data\.tokenizer: .*none\.json: No such file"):
        tokenizer_file.pieces(f"json:{tmp_path / 'none.json'}")
