"""Fits a law to a table of runs: `python -m scaling.fit --runs=my.csv --n=params --d=tokens`."""

from absl import flags

from scaling.console import tables
from scaling.fit import LEVEL, MINIMA, RESAMPLES
from train.cli import SEED, define_path, run_main


def _define_flags() -> None:
    tables.define_flags()
    flags.DEFINE_string("law", "chinchilla", "Law to fit; 'list' lists them.")
    define_path("out", None, "Where to write law.json (default: not written).")
    define_path("report", None, "Where to write an interactive page (default: none).")
    flags.DEFINE_string("objective", "huber_log", "huber_log, mse_log, mse, quantile or auto.")
    flags.DEFINE_float("delta", 1e-3, "Where the Huber loss turns linear, in nats of log loss.")
    flags.DEFINE_float("tau", 0.5, "The quantile, for --objective=quantile.")
    flags.DEFINE_integer("starts", None, "Random starts (default: 256; 32 for multi_power).")
    flags.DEFINE_integer("bootstrap", None, "Refits (default: 1000; 100 for multi_power).")
    flags.DEFINE_enum("resample", "pairs", RESAMPLES, "What the bootstrap redraws.")
    flags.DEFINE_float("level", LEVEL, "Level of the intervals.")
    flags.DEFINE_string("weights", None, "Column with a positive weight for every run.")
    flags.DEFINE_enum("minima", MINIMA[0], MINIMA, "How the best size of each budget is found.")
    flags.DEFINE_list("fixed", [], "Parameters held, NAME=VALUE in natural units.")
    flags.DEFINE_integer("seed", 0, "Seed of the starts and the bootstrap.", **SEED)
    flags.DEFINE_float("warmup", 0.0, "Laws of schedules: steps of linear warm-up.")
    flags.DEFINE_float("decay", 0.999, "Laws of schedules: share of an annealing kept a step.")


def main() -> None:
    """Does what the flags say."""
    if flags.FLAGS.law == "list":
        from scaling.fit import listing as verb
    else:
        from scaling.fit import command as verb

    return verb.run(flags.FLAGS)


if __name__ == "__main__":
    _define_flags()
    run_main(main)
