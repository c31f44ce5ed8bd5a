"""What `python -m train.generate` does with its flags."""

from collections import deque
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from train import cache, saved, step, workdir
from train.cli import InputError, Unavailable
from train.generate import drawing, rules, show, speaking, transcribing, writing
from train.generate.ngram import Ngram

MOST_PROMPTS, MOST_BYTES = 1024, 16 << 20  # of one call
BEAMS = 16  # of a recording, where no number is given
# Where data have one of these facts, what is written goes into a file.
MADE = {"draw": drawing, "play": speaking}


def run(given: Any) -> int:
    """Entry point: writes texts. Gives the exit code."""
    folder = saved.folder(given.workdir)
    try:
        rule = _rule(given)
    except ValueError as error:
        raise InputError(f"--{error}") from None
    if given.wav:
        return _transcribe(given, folder)
    if given.ngram:
        raise InputError(f"--ngram: {given.ngram}; it helps to transcribe a recording, see --wav")
    prompts = _prompts(given.prompt, given.prompts_file)
    cache.use_cache()
    with workdir.locked(folder):
        run = saved.open_run(folder, given.step)
        made = next((MADE[fact] for fact in MADE if fact in run.dataset.facts), None)
        _check_file(made, given)
        batch, lengths = _batch(run, [text for text in prompts for _ in range(given.each)])
        state = run.state()
    facts, model = run.dataset.facts, step.build_model(run.config)
    writer = writing.Writer(model, rule, facts.get("end", -1))
    variables = {"params": state.params, **state.extra}
    every = batch["tokens"].shape[1] if made else writing.BLOCK
    asked = {"tokens": given.tokens, "seed": given.seed, "every": every}
    parts = writing.written(writer, variables, batch, lengths, **asked)
    if made:
        (last,) = deque(parts, maxlen=1)
        made.write(Path(given.to), last.tokens, batch, facts, given.each)
        print(given.to)
        return 0
    if given.beams or len(prompts) > 1:  # what beams find best may change to the last
        parts = deque(parts, maxlen=1)
    begun = [facts["decode"](row[:n]) for row, n in zip(batch["tokens"], lengths)]
    last = show.show_texts(begun, parts, facts["decode"])
    show.show_full(last, batch["tokens"].shape[1], given.tokens)
    return 0


def _check_file(made: ModuleType | None, given: Any) -> None:
    """Raises InputError where --to and --each do not go with what a run makes; None: texts."""
    if made:
        if not given.to or Path(given.to).suffix.lower() != made.SUFFIX:
            what = f"give the {made.SUFFIX} that is to be written"
            raise InputError(f"--to: {given.to or 'missing'}; {what}")
        made.check(given)
    elif given.to or given.each != 1:
        flag = "to" if given.to else "each"
        raise InputError(f"--{flag}: {given.to or given.each}; its run writes texts, no file")


def _transcribe(given: Any, folder: Path) -> int:
    if given.prompt or given.prompts_file:
        raise InputError("--wav: a recording is transcribed; give it, or a prompt, not both")
    if given.temperature:
        raise InputError(f"--temperature: {given.temperature}; of a recording nothing is drawn")
    cache.use_cache()
    with workdir.locked(folder):
        run = saved.open_run(folder, given.step)
        if "hear" not in run.dataset.facts:
            what = f"of {run.config.model.name} on {run.config.data.name!r}"
            raise InputError(f"--workdir: its run is {what}, which hears nothing")
        try:
            heard = run.dataset.facts["hear"]([Path(path).expanduser() for path in given.wav])
        except (ValueError, OSError) as error:
            raise InputError(f"--wav: {error}") from None
        state = run.state()
    facts, model, beams = run.dataset.facts, step.build_model(run.config), given.beams or BEAMS
    variables, decode = {"params": state.params, **state.extra}, facts["decode"]
    ngram = Ngram(facts["texts"](), given.ngram, facts["classes"]) if given.ngram else None
    prior = transcribing.Prior(ngram, given.ngram_weight, given.ngram_bonus if ngram else 0.0)
    for path, batch in zip(given.wav, heard):
        text = decode(transcribing.transcribed(model, variables, batch, beams, prior))
        print(f"{show.printable(path)}: {text}" if len(heard) > 1 else text, flush=True)
    return 0


def _rule(given: Any) -> rules.Sampling | rules.Beams:
    """Raises ValueError that begins with the name of a flag."""
    sampling = rules.Sampling(given.temperature, given.top_k, given.top_p)
    if not given.beams:
        return sampling
    if given.temperature:
        raise ValueError(f"temperature: {given.temperature}; beams draw nothing: give one of both")
    return rules.Beams(given.beams, given.length_penalty)


def _prompts(given: list[str], path: str | None) -> list[str]:
    named = [(f"--prompt: {text!r}", text) for text in given]
    if path:
        lines = _text(Path(path)).removesuffix("\n").split("\n")
        named += [(f"--prompts_file: {path} line {n}", x) for n, x in enumerate(lines, 1)]
    if not named:
        raise InputError("--prompt: missing; give a text, or --prompts_file")
    if len(named) > MOST_PROMPTS:
        raise InputError(f"--prompt: {len(named)} of them; allowed: at most {MOST_PROMPTS}")
    for name, text in named:
        if not text:
            raise InputError(f"{name}: empty; give some text to go on from")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"{name}: allowed: text in UTF-8") from None
    return [text for _, text in named]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"--prompts_file: {path}: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise InputError(f"--prompts_file: {path}; allowed: at most {MOST_BYTES} bytes")
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        where = f"--prompts_file: {path}"
        raise InputError(f"{where} is not UTF-8 text (byte {error.start})") from None


def _batch(run: saved.Run, prompts: list[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What the model reads of the prompts, and how many tokens are given."""
    name, of_data = run.config.model.name, run.config.data.name
    if not hasattr(step.build_model(run.config), "begin"):
        raise InputError(f"--workdir: its run is of {name}, which writes no text")
    if "prompt" not in run.dataset.facts:
        raise InputError(f"--workdir: its run is of data {of_data!r}, which take no prompt")
    try:
        return run.dataset.facts["prompt"](prompts)
    except ValueError as error:
        field = "--" if str(error).startswith("prompt:") else "config."
        raise InputError(f"{field}{error}") from None
    except OSError as error:
        raise Unavailable(f"config.{error}") from None
