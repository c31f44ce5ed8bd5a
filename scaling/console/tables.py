"""The flags that name a table of runs, the same wherever one is read, and the questions it raises.

Columns in millions or billions, compute in other units than FLOPs and accuracies given as losses
all read as numbers and fit to nonsense: what looks like them is not fitted before a flag has said
what it is.
"""

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from train.cli import InputError, define_path, nearest

if TYPE_CHECKING:
    import pandas as pd

# Flags defined here are then those of the entry point, which --help lists.
flags.disclaim_key_flags()

METRICS = ("loss", "accuracy")
_COUNT = 1000.0  # fractions below it count nothing
_TINY = 1e5  # parameters or examples: fewer make one ask
_LEAST_C = 1e10  # FLOPs, a second of a small processor: no study's largest run
_FAR = (1e-4, 1e6)  # D / N of runs in one unit lies between
_C_FITS = (1e-3, 1e5)  # C / 6 N D: from sparse models to D in images or sequences
_RISES = 0.5  # rank correlation of loss and C
_ENOUGH = 6  # runs to say that it rises
_UNITS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
_ENDINGS = {"k": 1e3, "m": 1e6, "mn": 1e6, "b": 1e9, "bn": 1e9, "t": 1e12}
_ENDINGS |= {word.rstrip("s"): unit for unit, word in _UNITS.items()}
_SAID = re.compile(rf"(?:^|[\s_(\[/-])({'|'.join(_ENDINGS)})s?[)\]]?$", re.I)


def define_flags(runs: str = "CSV of runs, one row a run.") -> None:
    """The flags of `runs_of`."""
    define_path("runs", None, runs)
    flags.DEFINE_string("n", "N", "Column with the number of parameters.")
    flags.DEFINE_string("d", "D", "Column with the number of training examples.")
    flags.DEFINE_string("c", None, "Column with the training FLOPs; default C, or 6 N D.")
    flags.DEFINE_string("loss", "loss", "Column with the final loss.")
    flags.DEFINE_string(
        "split", None, "Column that says fit or heldout; default split or role; empty for none."
    )
    flags.DEFINE_list(
        "columns", [], "Columns of what else the law reads, NAME=COLUMN: experts=num_experts."
    )
    for name, what in (("n", "parameters"), ("d", "examples"), ("c", "FLOPs")):
        flags.DEFINE_float(
            f"{name}_unit", None, f"How many {what} a one in that column stands for, e.g. 1e6."
        )
    flags.DEFINE_enum(
        "metric",
        None,
        METRICS,
        "Whether --loss is a loss, or an accuracy whose error is fitted.",
    )


def runs_of(
    given: Any,
    path: str | None = None,
    extra: Sequence[str] = (),
    reads: Sequence[str] = ("N", "loss"),
) -> "pd.DataFrame":
    """The table that the flags name; `reads` says which of N and loss there must be.

    Args:
      path: instead of --runs. extra: see `scaling.runs.table.read_runs`.

    Raises:
      InputError: as `read_runs`, or a question that a flag must answer.
    """
    from scaling.runs.table import read_runs

    units = {name: getattr(given, f"{name.lower()}_unit") for name in "NDC"}
    for name, unit in units.items():
        if unit is not None and not 0 < unit < 1e30:
            raise InputError(f"--{name.lower()}_unit: {unit!r}; a positive number")
    columns = pairs("--columns", given.columns, "NAME=COLUMN")
    more = dict.fromkeys((*extra, *reads))
    for name in ("N", "D", "C", "loss"):  # these have flags of their own
        more.pop(name, None)
    for name in columns:
        if name not in more:
            raise InputError(f"--columns: {name!r}; {nearest(name, more)}")
    runs = read_runs(
        path or given.runs,
        given.n if "N" in reads else None,
        given.d,
        given.loss if "loss" in reads else None,
        given.c,
        given.split,
        {name: columns.get(name, name) for name in extra},
        units={name: unit for name, unit in units.items() if unit is not None},
        accuracy=given.metric == "accuracy",
    )
    for name in set(columns) - set(extra):  # what may be zero is checked where it is fitted
        if columns[name] not in runs.columns:
            raise InputError(
                f"--columns: no column {columns[name]!r}; {nearest(columns[name], runs.columns)}"
            )
        runs[name] = runs[columns[name]]
    asked = {name for name, unit in units.items() if unit is None}
    _ask_units(runs, asked & {"N", "D"})
    _ask_compute(runs, asked)
    if given.metric is None and "loss" in reads:
        _ask_metric(runs)
    return runs


def pairs(flag: str, given: Iterable[str], form: str) -> dict[str, str]:
    """The values of a flag whose items are NAME=VALUE. Raises InputError for others."""
    found = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not (name and equals and value):
            raise InputError(f"{flag}: {item!r}; {form}")
        found[name.strip()] = value.strip()
    return found


def refuse_units(given: Any, whose: str) -> None:
    """Raises where flags of units are given to what does not read them."""
    for name in ("n_unit", "d_unit", "c_unit", "metric"):
        if getattr(given, name) is not None:
            raise InputError(f"--{name}: not read by {whose}")


def _ask_compute(runs: "pd.DataFrame", asked: set[str]) -> None:
    """Raises where C is nowhere near N D and no flag says what it counts."""
    from scaling.runs.table import named

    if "C" not in asked or not {"N", "D", "C"} <= set(runs.attrs["columns"]):
        return
    ratio = runs["C"] / (6 * runs["N"] * runs["D"])
    if _C_FITS[0] <= ratio.median() <= _C_FITS[1]:
        return
    example = ""
    if ratio.max() < 100 * ratio.min():  # otherwise no unit makes it fit
        example = f" e.g. --c_unit={10.0 ** (-3 * round(math.log10(ratio.median()) / 3)):g};"
    raise InputError(
        f"--c_unit: column {named(runs, 'C')!r} is {ratio.min():.2g} to {ratio.max():.2g} times "
        f"6 N D; how many FLOPs is a one in it?{example} or --n_unit, --d_unit; --c_unit=1 takes "
        "it as it is"
    )


def _ask_units(runs: "pd.DataFrame", asked: set[str]) -> None:
    """Raises where N or D cannot be counts, or together buy next to no compute."""
    from scaling.runs.table import named

    there = [name for name in ("N", "D") if name in runs.attrs["columns"]]
    doubted = {name for name in there if ((runs[name] < _COUNT) & (runs[name] % 1 != 0)).any()}
    named_so = {}
    for name in there:
        words = (named(runs, name), runs.attrs.get("units", {}).get(named(runs, name), ""))
        if runs[name].max() < _COUNT * _TINY and (said := _said(words)):
            named_so[name] = said
    made = ""
    if len(there) == 2:
        buys = 6 * (runs["N"] * runs["D"]).max()
        made = f", 6 N D at most {buys:.2g} FLOPs"
        D_per_N = (runs["D"] / runs["N"]).median()
        small = {name for name in there if runs[name].max() < _TINY}
        doubted |= small & ({"D"} if D_per_N < _FAR[0] else {"N"} if D_per_N > _FAR[1] else set())
        # Where C is in the table, it may say that so little compute is right.
        if buys < _LEAST_C and ("C" not in runs.attrs["columns"] or runs["C"].max() > _LEAST_C):
            doubted |= set(there)
    doubted = sorted((doubted | set(named_so)) & asked, reverse=True)
    if not doubted:
        return
    guess = _guess(runs, doubted) | named_so
    shown = [
        f"{named(runs, name)!r} ({runs[name].min():.4g} to {runs[name].max():.4g})"
        for name in doubted
    ]
    kind = " and ".join(_UNITS[guess[name]] for name in doubted)
    yes = " ".join(f"--{name.lower()}_unit={guess[name]:g}".replace("+0", "") for name in doubted)
    no = " ".join(f"--{name.lower()}_unit=1" for name in doubted)
    raise InputError(
        f"{yes.split('=')[0]}: column {' and '.join(shown)}{made}: are these {kind}? Then {yes}; "
        f"{no} takes them as they are"
    )


def _said(words: Iterable[str]) -> float | None:
    """The unit that a column's name or the row under it ends with, as in 'params (M)'."""
    for text in words:
        if found := _SAID.search(text):
            return _ENDINGS[found[1].lower()]
    return None


def _guess(runs: "pd.DataFrame", doubted: Sequence[str]) -> dict[str, float]:
    """The units that bring D / N nearest to 20 and, less so, C to the size of studies."""

    def distance(units: Sequence[float]) -> float:
        scaled = {name: runs[name].median() for name in ("N", "D") if name in runs}
        for name, unit in zip(doubted, units):
            scaled[name] *= unit
        if len(scaled) < 2:
            return abs(math.log10(*scaled.values()) - 8)
        N, D = scaled["N"], scaled["D"]
        return abs(math.log10(D / N / 20)) + 0.1 * abs(math.log10(6 * N * D) - 20)

    found = min(itertools.product(_UNITS, repeat=len(doubted)), key=distance)
    return dict(zip(doubted, found))


def _ask_metric(runs: "pd.DataFrame") -> None:
    """Raises where the loss rises with compute."""
    from scaling.runs.table import named

    by = next((name for name in ("C", "N") if name in runs), None)
    if by is None or len(runs) < _ENOUGH:
        return
    correlation = runs[by].rank().corr(runs["loss"].rank())
    if correlation > _RISES:
        column = named(runs, "loss")
        raise InputError(
            f"--metric: column {column!r} rises with {by} (rank correlation {correlation:+.2f}); "
            f"--metric=accuracy fits 1 - {column}, --metric=loss takes it as it is"
        )
