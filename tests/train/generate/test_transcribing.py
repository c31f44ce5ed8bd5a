"""Recordings transcribed, by a run of a few steps too."""

import itertools
import wave

import numpy as np
import pytest

from configs import ctc
from tests import verbs
from tests.data.test_speech import write_recordings
from tests.train.tasks.test_transcribe import collapsed
from train import run
from train.config import resolve
from train.generate import transcribing


def test_search_finds_the_likeliest_of_all_texts():
    rng = np.random.default_rng(0)
    for _ in range(10):
        L, K = 4, 3
        log_p = rng.normal(size=(L, K)) * 2
        log_p -= np.logaddexp.reduce(log_p, axis=1, keepdims=True)
        ways = {}
        for path in itertools.product(range(K), repeat=L):
            score = log_p[np.arange(L), path].sum()
            ways[collapsed(path)] = np.logaddexp(ways.get(collapsed(path), -np.inf), score)
        text, score = transcribing.search(log_p, K**L)
        assert text == max(ways, key=ways.get)
        assert score == pytest.approx(ways[text])
    # The likeliest way says nothing, and yet one a is likelier than nothing: two ways say it.
    log_p = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert transcribing.search(log_p, 4)[0] == (1,)


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
