"""`python -m train.generate` on a run of text2image of a few steps."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from configs import text2image
from tests import verbs
from tests.data.test_captioned import OPTIONS, drawn, image  # noqa: F401
from train import run, saved, step
from train.cli import InputError
from train.config import resolve
from train.generate import command


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory):  # noqa: F811
    """A run on pictures of 8x8 with 16 codes."""
    config = text2image.recipe(8, 1e3)
    config.data = {"name": "captioned", **drawn, **OPTIONS}
    config.evals = {}
    config.update(steps=4, batch_size=4)
    config.evaluation.batch_size = 4
    folder = tmp_path_factory.mktemp("drawing")
    run.run(resolve(config.to_dict()), folder)
    return folder


def call(folder, *flags):
    return verbs.call("train.generate", f"--workdir={folder}", *flags)


def test_a_row_of_pictures_for_each_caption(trained, tmp_path):
    to = tmp_path / "new" / "grid.png"
    prompts = ("--prompt=red heart", "--prompt=the blue cat")
    done = call(trained, *prompts, f"--to={to}", "--each=3")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{to}\n", "")
    with image.open(to) as file:
        grid = np.asarray(file)
    assert grid.shape == (2 * 136, 3 * 136, 3)
    # Nothing is drawn by chance: what a pass over the whole says is the most probable.
    found = saved.open_run(trained, 0)
    model, params = step.build_model(found.config), found.state().params
    batch, _ = found.dataset.facts["prompt"](["red heart", "the blue cat"])
    apply = jax.jit(model.apply)
    for place in range(16):
        codes = np.asarray(apply({"params": params}, batch).argmax(-1))
        if place < 15:
            batch["tokens"][:, 3 + place] = codes[:, place]
    wanted = found.dataset.facts["draw"](codes).repeat(16, axis=1).repeat(16, axis=2)
    for row in range(2):
        for column in range(3):
            own = grid[row * 136 + 4 :, column * 136 + 4 :][:128, :128]
            np.testing.assert_array_equal(own, wanted[row])
    warm = call(trained, *prompts, f"--to={to}", "--each=3", "--temperature=1", "--top_k=9")
    assert warm.returncode == 0
    with image.open(to) as file:
        parts = np.asarray(file).reshape(2, 136, 3, 136, 3).swapaxes(1, 2).reshape(6, -1)
    assert len(np.unique(parts, axis=0)) == 6


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--to: missing; give the .png that is to be written"),
        (["--to=a.jpg"], "--to: a.jpg; give the .png"),
        (["--to=a.png", "--each=0"], "--each: 0; allowed: 1 to 64"),
        (["--to=a.png", "--tokens=3"], "--tokens: 3; a picture has as many codes as it needs"),
        (["--to=a.png", "--prompt=xyz"], "--prompt: 'xyz'; allowed: a caption with words"),
    ],
)
def test_bad_flags_are_one_line(trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    done = call(trained, "--prompt=red cat", *flags)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_run_that_writes_texts_draws_nothing():
    for given, flag in ((("a.png", 1), "to"), ((None, 2), "each")):
        asked = SimpleNamespace(to=given[0], each=given[1])
        with pytest.raises(InputError, match=f"--{flag}: .*; its run writes texts, no file"):
            command._check_file(None, asked)
