"""Writes with a run's model: gpt goes on from a prompt, seq2seq translates it, text2image draws it,
ctc transcribes recordings, wavenet makes some.

    python -m train.generate --workdir=runs/first --prompt='In the beginning ' [--tokens=40]
    python -m train.generate --workdir=runs/first --prompt=The --temperature=.8 --top_p=.95 --seed=1
    python -m train.generate --workdir=runs/translation --prompt='And he said' --beams=4
    python -m train.generate --workdir=runs/ctc --wav=speech.wav [--beams=16] [--ngram=6]
    python -m train.generate --workdir=runs/drawing --prompt='google red heart' --to=a.png --each=4
    python -m train.generate --workdir=runs/voice --prompt='press one' --temperature=1 --to=a.wav

Greedy unless there is a --temperature. Several prompts, by --prompt again and again or one a line
of --prompts_file, are written together. A text ends where the model says so, at --tokens, or where
the context that it was trained on does. Pictures go into one file, a row for each prompt; so do
recordings, one after another.

Exit codes: 0 done, 2 bad input.
"""

from absl import flags

from train.cli import SEED, define_path, run_main


def main() -> int:
    """Does what the flags say."""
    from train.generate import command

    return command.run(flags.FLAGS)


if __name__ == "__main__":
    define_path("workdir", None, "The run's folder.")
    flags.DEFINE_integer("step", 0, "Of the checkpoint; 0 = the newest.", 0)
    flags.DEFINE_multi_string("prompt", [], "What to go on from, or to translate.")
    flags.DEFINE_multi_string("wav", [], "A recording to transcribe.")
    define_path("prompts_file", None, "UTF-8 text, a prompt a line.")
    define_path("to", None, "A .png of a run that draws, a .wav of one that speaks.")
    flags.DEFINE_integer("each", 1, "Pictures or recordings of each prompt.")
    flags.DEFINE_integer("tokens", 0, "Write at most so many; 0 = as the context has room for.", 0)
    flags.DEFINE_float("temperature", 0.0, "Of what is drawn from; 0 = the most probable token.")
    flags.DEFINE_integer("top_k", 0, "Draw from this many of the most probable; 0 = all.", 0)
    flags.DEFINE_float("top_p", 1.0, "Draw from the fewest that are together so probable.")
    flags.DEFINE_integer("seed", 0, "Of what is drawn.", **SEED)
    flags.DEFINE_integer("beams", 0, "Search with this many beams; 0 = none, or 16 of --wav.", 0)
    flags.DEFINE_float("length_penalty", 0.6, "How much longer texts of beams are helped; 0 = not.")
    flags.DEFINE_integer(
        "ngram", 0, "Of --wav: an n-gram, of the run's own texts; 0 = none.", 0, 12
    )
    flags.DEFINE_float("ngram_weight", 0.5, "How much the n-gram counts beside what is heard.")
    flags.DEFINE_float("ngram_bonus", 1.0, "Nats that each character is helped beside an n-gram.")
    run_main(main)
