import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.tasks import transcribe
from train.tasks.transcribe import Config

L, K, STRIDE = 5, 3, 2


def collapsed(path) -> tuple[int, ...]:
    """What a way through the classes says."""
    alone = [k for k, _ in itertools.groupby(path)]
    return tuple(k for k in alone if k)


def log_likelihood(log_p, text) -> float:
    """The sum over all ways, one by one."""
    ways = itertools.product(range(K), repeat=len(log_p))
    said = [way for way in ways if collapsed(way) == tuple(text)]
    return np.logaddexp.reduce([sum(log_p[t, k] for t, k in enumerate(way)) for way in said])


LOGITS = np.random.default_rng(0).normal(size=(4, L, K)).astype(np.float32)
TEXTS = [(1, 2, 2), (2, 1), (1,), ()]
STEPS = [5, 4, 3, 0]


def batch() -> dict[str, np.ndarray]:
    """The last row is padding; the second one ends in the middle of a step."""
    labels = np.zeros((4, 4), np.int32)
    for row, text in enumerate(TEXTS):
        labels[row, : len(text)] = text
    frames = np.array(STEPS, np.int32) * STRIDE + [0, 1, 0, 0]
    weight = np.array([1, 1, 1, 0], np.float32)
    speech = np.zeros((4, L * STRIDE, 1), np.float32)
    return {"speech": speech, "frames": frames, "labels": labels, "weight": weight}


def test_the_loss_sums_over_all_ways_to_say_a_text():
    found = transcribe.losses(Config(), lambda _: jnp.asarray(LOGITS), batch(), None)
    log_p = np.asarray(jax.nn.log_softmax(LOGITS))
    for row in range(3):
        expected = -log_likelihood(log_p[row, : STEPS[row]], TEXTS[row])
        assert found.objective[row] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_array_equal(found.units, [3, 2, 1, 0])
    assert found.sums["loss"][3] == 0 == found.objective[3]


def test_greedy_decoding_says_what_the_likeliest_way_does():
    kept = transcribe.examine(Config(), lambda _: jnp.asarray(LOGITS), batch(), None)
    for row, steps in enumerate(STEPS):
        said = [k for k in np.asarray(kept["written"][row]).tolist() if k]
        assert tuple(said) == collapsed(LOGITS[row, :steps].argmax(axis=1).tolist())


def test_errors_are_of_the_whole_set_counted_by_hand():
    def slowly(a, b):
        if not a or not b:
            return len(a) + len(b)
        step = slowly(a[:-1], b[:-1]) + (a[-1] != b[-1])
        return min(step, slowly(a[:-1], b) + 1, slowly(a, b[:-1]) + 1)

    rng = np.random.default_rng(1)
    for _ in range(30):
        a, b = (tuple("abc"[i] for i in rng.integers(0, 3, rng.integers(0, 6))) for _ in range(2))
        assert transcribe.distance(a, b) == slowly(a, b)

    said, meant = ["the cat sat", "", "on a mat"], ["the cat sits", "so", "on the mat"]
    texts = {"written": said, "labels": meant}
    rows = {k: np.array(v, object) for k, v in texts.items()}
    # sat -> sits: a for i, and an s. so: both letters. a -> the: one for another, two more.
    found = transcribe.summarise(Config(), rows, {"decode": str})
    assert found == {"cer": (2 + 2 + 3) / (12 + 2 + 10), "wer": 3 / 7}
