import numpy as np
import pytest

from data.sources import espeak


@pytest.mark.slow
def test_a_list_is_spoken_the_same_again():
    texts = ["let there be light", "let there be light", "and there was light"]
    (one, rate), (other, _) = (espeak.speak(texts, "en-us") for _ in range(2))
    assert rate == 22050
    assert [len(x) for x in one] == [len(x) for x in other]
    assert all(np.array_equal(a, b) for a, b in zip(one, other))
    assert all(0.5 < len(x) / rate < 3 and np.abs(x.astype(int)).max() > 5000 for x in one)
    with pytest.raises(ValueError, match="espeak:no-such; there is no such voice"):
        espeak.speak(texts, "no-such")
