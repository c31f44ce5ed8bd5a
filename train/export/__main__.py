"""Writes a run's weights or its forward pass for other programs, or makes a run of theirs.

    python -m train.export --workdir=runs/first --to=huggingface --out=exported
    python -m train.export --workdir=runs/first --to=stablehlo --out=program
    python -m train.export --from=exported --config=configs/gpt.py --workdir=runs/theirs

huggingface: safetensors, config.json and the tokenizer, of family gpt, which `transformers` loads
as Llama, Qwen3, Arcee or Apertus, as activation and QK-norm say. stablehlo: the model's output for
a batch, of any family, as `jax.export` serialises it, with the weights beside it.

--from takes a folder of the first kind; model and tokenizer are its own, all else is the config's.
What comes of it is a run at step 0: `--config=configs/finetune.py:runs/theirs` trains from there.

Exit codes: 0 done, 2 bad input, 74 not saved.
"""

from absl import flags
from ml_collections import config_flags

from train.cli import CONFIG_HELP, InputError, config_values, define_path, run_main


def main() -> int:
    """Does what the flags say."""
    given = flags.FLAGS
    source = given["from"].value
    if bool(given.to) == bool(source):
        raise InputError("--to: give it, or --from, and not both")
    if source and not given.workdir:
        raise InputError("--workdir: missing; give a folder for the run")
    values = config_values("configs/gpt.py") if source else None
    from train.export import command

    return command.bring(given, source, values) if source else command.write(given)


if __name__ == "__main__":
    define_path("workdir", None, "The run's folder.")
    flags.DEFINE_integer("step", 0, "Of the checkpoint; 0 = the newest.", 0)
    flags.DEFINE_enum("to", None, ["huggingface", "stablehlo"], "What to write.")
    define_path("out", None, "The folder to write, new or empty.")
    define_path("from", None, "A folder of transformers, to make a run of.")
    config_flags.DEFINE_config_file("config", help_string=CONFIG_HELP, lock_config=True)
    run_main(main)
