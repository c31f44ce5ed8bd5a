import flax.linen as nn
import jax
import pytest

from tests.conftest import ROOT
from train import failure, optimizer

MODEL = """
import flax.linen as nn

class Model(nn.Module):
    @nn.compact
    def __call__(self, x):
        return helper(x)

def helper(x):
    return {wrong}
"""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("undefined", "NameError: name 'undefined'"), ("x @ x[:2]", "TypeError: dot_general")],
)
@pytest.mark.parametrize("place", ["models/mine.py", "train/tasks/mine.py", "../elsewhere/mine.py"])
def test_an_error_in_a_model_is_told_by_its_own_frames(place, wrong, says, capsys):
    names = {"__name__": "mine"}
    exec(compile(MODEL.format(wrong=wrong), str(ROOT / place), "exec"), names)
    model: nn.Module = names["Model"]()
    with pytest.raises((NameError, TypeError)) as caught:
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x), jax.numpy.ones(3))
    assert failure.print_theirs(caught.value)
    lines = capsys.readouterr().err.splitlines()
    frames = [line for line in lines if line.startswith("  File")]
    assert [frame.rpartition(" in ")[2] for frame in frames if "mine.py" in frame] == [
        "__call__",
        "helper",
    ]
    assert not any("site-packages" in frame for frame in frames)
    assert lines[-1].startswith(says)


def test_an_error_of_ours_is_left_whole(capsys):
    with pytest.raises(AttributeError) as caught:
        optimizer.build(None, 0.0, 0.0)
    ours = caught.value.with_traceback(caught.value.__traceback__.tb_next)
    assert not failure.print_theirs(ours)
    assert capsys.readouterr().err == ""
