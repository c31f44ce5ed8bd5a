"""What searching is worth to a run of ctc."""

import itertools

import numpy as np

from benchmarks import transcripts
from tests.train.tasks.test_transcribe import collapsed


def test_the_best_path_is_read_as_its_steps_say():
    for path in itertools.product(range(3), repeat=5):
        log_p = np.log(np.full((5, 3), 0.1) + np.eye(3)[list(path)])
        assert transcripts.best_path(log_p) == collapsed(path)


def test_errors_are_of_all_characters_and_words():
    # Two characters of nine are wrong, and two words of three.
    said = transcripts.told(["a cat", "dig"], ["a bat", "digs"])
    assert said.startswith("CER 0.2222 +- ")
    assert "WER 0.6667 +- " in said
