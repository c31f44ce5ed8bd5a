"""`python -m train.generate` on runs of a few steps."""

import numpy as np
import pytest

from configs import gpt
from tests import verbs
from tests.train import toys
from train import before, run, saved, step, workdir
from train.config import resolve
from train.generate import show, writing
from train.generate.rules import Sampling


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a small gpt."""
    config = gpt.recipe(16, 1e4)
    config.update(steps=8, batch_size=4)
    config.data.update(sequence_length=32, eval_tokens=2048)
    config.checkpoint.every = 6
    folder = tmp_path_factory.mktemp("gpt")
    run.run(resolve(config.to_dict()), folder)
    return folder


def call(folder, *flags):
    return verbs.call("train.generate", f"--workdir={folder}", *flags)


def test_a_prompt_is_gone_on_with_as_the_model_would(trained):
    done = call(trained, "--prompt=Thé \x07be")
    assert done.returncode == 0, done.stderr
    full = "note: the text stops where the context does that the run was trained on, 32 tokens\n"
    assert done.stderr == full
    found = saved.open_run(trained, 0)
    prompt = "Thé \x07be".encode()
    tokens = np.zeros((1, 32), np.int32)
    tokens[0, : len(prompt)] = list(prompt)
    model, params = step.build_model(found.config), found.state().params
    *_, last = writing.written(
        writing.Writer(model, Sampling(), 256),
        {"params": params},
        {"tokens": tokens},
        np.array([len(prompt)]),
    )
    assert len(last.tokens[0]) == 33 - len(prompt)
    said = found.dataset.facts["decode"](np.concatenate([tokens[0, : len(prompt)], last.tokens[0]]))
    assert done.stdout == show.printable(said) + "\n"
    assert done.stdout.startswith("Thé \\x07be")
    other = call(trained, "--prompt=Thé \x07be", "--step=6", "--tokens=3")
    assert (other.returncode, other.stderr) == (0, "")


def test_prompts_of_a_file_are_written_together_and_the_same_again(trained, tmp_path):
    (tmp_path / "prompts.txt").write_text("And\r\nIn the beginning\n")
    flags = [f"--prompts_file={tmp_path / 'prompts.txt'}", "--tokens=9", "--temperature=1"]
    done = call(trained, "--prompt=The", *flags, "--seed=3")
    assert (done.returncode, done.stderr) == (0, "")
    assert [x for x in done.stdout.split("\n") if x.startswith("---")] == [
        "--- 1",
        "--- 2",
        "--- 3",
    ]
    for n, prompt in enumerate(["The", "And", "In the beginning"], 1):
        assert f"--- {n}\n{prompt}" in done.stdout
    assert call(trained, "--prompt=The", *flags, "--seed=3").stdout == done.stdout
    assert call(trained, "--prompt=The", *flags, "--seed=4").stdout != done.stdout


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "--prompt: missing"),
        (["--prompt="], "--prompt: '': empty"),
        (["--prompt=\udce9"], "--prompt: '\\udce9': allowed: text in UTF-8"),
        (
            ["--prompt=" + "x" * 99],
            f"--prompt: '{'x' * 40}...' has 99 tokens; allowed: 1 to 32",
        ),
        (["--prompt=a", "--top_p=1.5", "--temperature=1"], "--top_p: 1.5; allowed: above 0"),
        (["--prompt=a", "--top_k=3"], "--top_k: 3; nothing is drawn at temperature 0"),
        (["--prompt=a", "--beams=65"], "--beams: 65; allowed: 1 to 64"),
        (["--prompt=a", "--beams=2", "--temperature=1"], "--temperature: 1.0; beams draw nothing"),
        (["--prompt=a", "--step=3"], "--step: 3; there are checkpoints of 6, 8"),
        (["--prompt=a", "--tokens=-1"], "--tokens"),
        (["--prompts_file=/no"], "--prompts_file: /no: No such file"),
        (["--prompts_file={folder}/bad.txt"], "bad.txt is not UTF-8 text (byte 2)"),
        (["--prompts_file={folder}/gap.txt"], "gap.txt line 2: empty"),
        (["--prompt=a", "--workdir=/nowhere"], "--workdir: '/nowhere'; it holds no run"),
    ],
)
def test_bad_input_is_one_line(flags, says, trained, tmp_path):
    (tmp_path / "bad.txt").write_bytes(b"ab\xff")
    (tmp_path / "gap.txt").write_text("one\n\nthree\n")
    done = call(trained, *(flag.format(folder=tmp_path) for flag in flags))
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_writes_no_text_or_has_no_checkpoint_says_so(tiny, tmp_path, monkeypatch):
    for package, path in toys.paths().items():
        monkeypatch.setattr(package, "__path__", path)
    run.run(toys.config(), tmp_path / "toy")
    done = call(tmp_path / "toy", "--prompt=a")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --workdir: its run is of noisy, which writes no text\n"
    config = tiny()
    workdir.claim(tmp_path / "new", config, before.open_data(config).digest, "now", {})
    done = call(tmp_path / "new", "--prompt=a")
    assert (done.returncode, "it has no checkpoint" in done.stderr) == (2, True)


def test_only_whole_characters_are_printed_and_nothing_steers_the_terminal(capsys, monkeypatch):
    text = "né\x1b[31m€\n".encode() + b"\xff!\xe2\x82"
    parts = [writing.Written([np.array(list(text[:n]))], None, None) for n in range(1, len(text))]
    printed = []
    monkeypatch.setattr("builtins.print", lambda x, **_: printed.append(x))
    show.show_texts([""], parts, lambda ids: bytes(ids.tolist()).decode(errors="replace"))
    printed = [x for x in printed if x]
    assert printed == ["n", "é", "\\x1b", *"[31m€\n", "\ufffd!", "\ufffd"]
