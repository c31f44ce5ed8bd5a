"""Words and logistic regression beside a classifier."""

import numpy as np
import pytest
from sklearn import metrics

from benchmarks import baselines
from train.cli import InputError


def test_scores_are_those_of_the_library():
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=50)
    chance = np.clip(0.2 + 0.4 * label + rng.uniform(-0.2, 0.4, 50), 0, 1)
    both = np.stack([1 - chance, chance], axis=1)
    found = baselines.scores(label, both)
    assert found["accuracy"][0] == metrics.accuracy_score(label, chance > 0.5)
    assert found["nats"][0] == pytest.approx(metrics.log_loss(label, both))
    assert found["accuracy"][1] == pytest.approx(np.std(label == (chance > 0.5), ddof=1) / 50**0.5)


def test_the_same_texts_are_read_whole_and_words_are_found(tmp_path, capsys):
    path, rng = tmp_path / "texts.csv", np.random.default_rng(0)
    rows = [(f"{i} {' '.join(rng.choice(list('abcd'), 30))}", i % 2) for i in range(300)]
    told = "".join(f"{text} {('bad', 'good')[label]},{label}\n" for text, label in rows)
    path.write_text("text,label\n" + told)
    baselines.measure(f"csv:{path}", 100)
    said = capsys.readouterr().out
    assert said.startswith("   100 texts: accuracy 1.0000 +- 0.0000, macro_f1 1.0000, auc 1.0000")


def test_what_is_no_source_is_one_line():
    with pytest.raises(InputError, match=r"data\.source: 'imdb'; allowed: vader"):
        baselines.measure("imdb", 0)
