import numpy as np
import pytest

from data.sources import espeak


@pytest.mark.slow
def test_a_list_is_spoken_the_same_again():
    texts = ["let there be light", "let there be light", "and there was light"]
    (one, rate), (other, _) = (espeak.speak(texts, "en-us") for _ in range(2))
    assert rate == 22050
    for a, b in zip(one, other):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert a[1:] == b[1:]
    assert all(0.5 < len(x) / rate < 3 for x, _, _ in one)
    assert all(np.abs(x.astype(int)).max() > 5000 for x, _, _ in one)
    # "let there be light": the vowel is loud, the stop before it begins is not.
    assert one[0].phonemes[:6] == ["l", "E", "t", "D", "e@", "b"]
    samples, _, starts = one[0]
    assert starts == sorted(starts)
    assert starts[-1] <= len(samples)
    vowel, stop = (np.abs(samples[a : a + 400].astype(int)).mean() for a in (starts[1], starts[2]))
    assert vowel > 3 * stop
    with pytest.raises(ValueError, match="espeak:no-such; there is no such voice"):
        espeak.speak(texts, "no-such")


@pytest.mark.slow
def test_voices_take_turns():
    texts = ["let there be light", "and there was light", "and it was so"]
    (found, _), (first, _), (second, _) = (
        espeak.speak(said, voices)
        for said, voices in (
            (texts, "en-us,en-us+f4"),
            (texts[::2], "en-us"),
            (texts[1::2], "en-us+f4"),
        )
    )
    for one, alone in zip(found, (first[0], second[0], first[1]), strict=True):
        np.testing.assert_array_equal(one.samples, alone.samples)
