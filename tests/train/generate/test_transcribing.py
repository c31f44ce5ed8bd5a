"""Recordings transcribed, by a run of a few steps too."""

import itertools
import wave

import numpy as np
import pytest

from configs import ctc
from tests import verbs
from tests.data.test_speech import WORDS, write_recordings
from tests.train.tasks.test_transcribe import collapsed
from train import run
from train.config import resolve
from train.generate import ngram, transcribing

TEXTS = [(1, 2), (1, 2, 2), (2, 1), (1,)]
NOTHING = transcribing.Prior()


def test_an_ngram_is_that_of_its_formula():
    """Interpolated Witten-Bell, written out; after any text the chances add up to 1."""
    found = ngram.Ngram(TEXTS, 2, 3)
    # In all of the texts: 0 ends four times, 1 and 2 come four times each.
    one = np.full(3, (4 + 3 / 3) / (12 + 3))
    after_1 = (np.array([2, 0, 2]) + 2 * one) / (4 + 2)  # (2, 1) and (1,) end with it
    np.testing.assert_allclose(np.exp(found.log_p((2, 1))), after_1)
    begins = (np.array([0, 3, 1]) + 2 * one) / (4 + 2)
    np.testing.assert_allclose(np.exp(found.log_p(())), begins)
    longer = ngram.Ngram(TEXTS, 4, 3)
    for text in itertools.product((1, 2), repeat=3):
        assert np.exp(longer.log_p(text)).sum() == pytest.approx(1)
    assert longer.log_p((1, 2, 2))[0] > longer.log_p((1, 2))[0]


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_search_finds_the_likeliest_of_all_texts(weight):
    rng, of_texts = np.random.default_rng(0), ngram.Ngram(TEXTS, 3, 3)
    prior, changed = transcribing.Prior(of_texts, weight, weight), 0
    for _ in range(20):
        L, K = 4, 3
        log_p = rng.normal(size=(L, K)) * 2
        log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
        ways = {}
        for path in itertools.product(range(K), repeat=L):
            score = log_p[np.arange(L), path].sum()
            ways[collapsed(path)] = np.logaddexp(ways.get(collapsed(path), -np.inf), score)
        scores = {}
        for said in ways:
            told = [of_texts.log_p(said[:n])[k] for n, k in enumerate((*said, ngram.END))]
            scores[said] = ways[said] + weight * (sum(told) + len(said))
        text, score = transcribing.search(log_p, K**L, prior)
        assert text == max(scores, key=scores.get)
        assert score == pytest.approx(scores[text])
        changed += text != max(ways, key=ways.get)
    assert bool(changed) == bool(weight)


def test_search_sums_the_ways_of_a_text():
    # The likeliest way says nothing, and yet one a is likelier than nothing: two ways say it.
    log_p = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert transcribing.search(log_p, 4, NOTHING)[0] == (1,)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a folder of hums."""
    folder = tmp_path_factory.mktemp("speech")
    write_recordings(folder / "own")
    config = ctc.recipe(4, 1e4)
    config.data.update(source=f"folder:{folder / 'own'}", frames=60, characters=12, unique=0)
    config.data.update(evaluation="validation", eval_rows=0)
    config.update(steps=3, batch_size=4)
    record = run.run(resolve(config.to_dict()), folder / "run")
    assert {"loss", "cer", "wer"} <= record.metrics.keys()
    return folder


def test_a_recording_is_transcribed(trained):
    files = sorted((trained / "own").rglob("*.wav"))[:2]
    flags = [f"--workdir={trained / 'run'}", *(f"--wav={path}" for path in files)]
    done = verbs.call("train.generate", *flags)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [str(p) for p in files]
    again = verbs.call("train.generate", *flags, "--ngram=4", "--ngram_weight=50")
    said = [line.split(": ", 1)[1] for line in again.stdout.splitlines()]
    assert all(set(text.split()) <= set(WORDS) for text in said), "what the n-gram has seen"


def test_what_is_no_recording_ends_in_one_line(trained, tmp_path):
    def refused(*flags):
        done = verbs.call("train.generate", f"--workdir={trained / 'run'}", *flags)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        return done.stderr

    with wave.open(str(tmp_path / "slow.wav"), "wb") as file:
        file.setparams((1, 2, 6000, 0, "NONE", ""))
        file.writeframes(bytes(12000))
    (tmp_path / "a.wav").write_text("no")
    assert "6000 samples a second; allowed: at least 8000" in refused(f"--wav={tmp_path}/slow.wav")
    assert "no WAV file" in refused(f"--wav={tmp_path}/a.wav")
    assert "there is no such file" in refused(f"--wav={tmp_path}/b.wav")
    assert "not both" in refused(f"--wav={tmp_path}/b.wav", "--prompt=a")
    assert "--ngram: 3; it helps to transcribe" in refused("--prompt=a", "--ngram=3")
