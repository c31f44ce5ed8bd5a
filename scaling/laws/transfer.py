"""From one loss to another loss, from loss to task error, and from one text to another."""

from scaling.laws.law import (
    Law,
    Parameter,
    coefficient,
    exponent,
    floor,
    power,
    scale,
    signed,
    xp,
)
from scaling.laws.size import chinchilla_natural


def _loss_to_loss_natural(p, c):
    return {
        "K": p["K"] * c["loss"] * power(c["source_loss"], -p["kappa"]),
        "kappa": p["kappa"],
        "E0": p["E0"] * c["source_loss"],
        "E1": p["E1"] * c["loss"],
    }


def _error_natural(p, c):
    return {
        "top": p["top"] * c["error"],
        "k": p["k"] * c["error"],
        "gamma": p["gamma"] / c["loss"],
    }


def _sigmoid_form(p, x):
    return p["low"] + p["rise"] * xp.sigmoid(-p["k"] * (x["loss"] - p["L0"]))


def _effective_form(p, x):
    transferred = p["k"] * power(x["D"], p["a"]) * power(x["N"], p["b"])
    data = x["D"] + xp.where(x["start_D"] > 0, transferred, 0.0)
    return p["E"] + p["A"] * power(x["N"], -p["alpha"]) + p["B"] * power(data, -p["beta"])


def _worth(p, c, unit):
    """k in natural units, where what is transferred is measured in `unit`."""
    return p["k"] * unit * power(c["D"], -p["a"]) * power(c["N"], -p["b"])


def _gap_natural(p, c):
    height = c["loss"] * power(c["D"], p["beta"])
    return {
        **p,
        "E": p["E"] * c["loss"],
        "A": p["A"] * height * power(c["start_D"], p["alpha"]),
        "G": p["G"] * height,
    }


def _below(name: str) -> Parameter:
    """A floor in centred units that must stay below every observed loss."""
    return Parameter(name, "log", start=(0.05, 0.9), bounds=(1e-9, 10.0))


TRANSFER_LAWS = (
    Law(
        name="loss_to_loss",
        formula="K (source_loss - E0)^kappa + E1",
        source="Brandfonbrener et al. 2025 (arXiv:2411.12925), shifted power law",
        parameters=(
            scale("K", 0.1, 10.0),
            Parameter("kappa", "log", start=(0.3, 3.0), bounds=(0.01, 20.0)),
            _below("E0"),
            _below("E1"),
        ),
        form=lambda p, x: p["K"] * power(x["source_loss"] - p["E0"], p["kappa"]) + p["E1"],
        natural=_loss_to_loss_natural,
        columns=("source_loss",),
        linear=("K", "E1"),
        distinct={"source_loss": 4},
    ),
    Law(
        name="task_error",
        formula="top - k exp(-gamma loss)",
        source="Gadre et al. 2024 (arXiv:2403.08540), eq. 5",
        parameters=(
            scale("top", 0.8, 3.0),
            scale("k", 0.1, 30.0),
            Parameter("gamma", "log", start=(0.3, 10.0), bounds=(1e-2, 100.0)),
        ),
        form=lambda p, x: p["top"] - p["k"] * xp.exp(-p["gamma"] * x["loss"]),
        natural=_error_natural,
        columns=("loss",),
        target="error",
        linear=("top", "k"),
        distinct={"loss": 3},
    ),
    Law(
        name="task_accuracy",
        formula="low + rise / (1 + exp(k (loss - L0)))",
        source="Bhagia et al. 2024 (arXiv:2412.04403), second step of the OLMo ladder",
        parameters=(
            scale("low", 0.05, 0.9),
            scale("rise", 0.1, 3.0),
            Parameter("k", "log", start=(1.0, 30.0), bounds=(1e-2, 1e3)),
            Parameter("L0", "log", start=(0.5, 2.0), bounds=(0.01, 10.0)),
        ),
        form=_sigmoid_form,
        natural=lambda p, c: {
            "low": p["low"] * c["accuracy"],
            "rise": p["rise"] * c["accuracy"],
            "k": p["k"] / c["loss"],
            "L0": p["L0"] * c["loss"],
        },
        columns=("loss",),
        target="accuracy",
        linear=("low", "rise"),
        distinct={"loss": 4},
    ),
    Law(
        name="transferred",
        formula="k D^a N^b",
        source="Hernandez et al. 2021 (arXiv:2102.01293), eq. 1.1: what was learnt elsewhere, in "
        "data of its own that a run of N parameters on D would need besides",
        parameters=(scale("k", 0.1, 10.0), signed("a", 1.0), signed("b", 1.0)),
        form=lambda p, x: p["k"] * power(x["D"], p["a"]) * power(x["N"], p["b"]),
        natural=lambda p, c: {**p, "k": _worth(p, c, c["D_T"])},
        target="D_T",
        linear=("k",),
        distinct={"N": 2, "D": 2},
    ),
    Law(
        name="effective_data",
        formula="E + A N^-alpha + B (D + D_T)^-beta, D_T = k D^a N^b where start_D > 0, else 0",
        source="Hernandez et al. 2021 (arXiv:2102.01293), eq. 1.1, within Hoffmann et al. 2022 "
        "(arXiv:2203.15556), eq. 2: runs that were begun elsewhere and runs that were not, at once",
        parameters=(
            floor(),
            coefficient("A"),
            coefficient("B"),
            exponent("alpha"),
            exponent("beta"),
            scale("k", 0.1, 10.0),
            signed("a", 1.0),
            signed("b", 1.0),
        ),
        form=_effective_form,
        natural=lambda p, c: {**p, **chinchilla_natural(p, c), "k": _worth(p, c, c["D"])},
        columns=("N", "D", "start_D"),
        linear=("E", "A", "B"),
        distinct={"N": 2, "D": 3, "start_D": 2},
        nonnegative=("start_D",),
    ),
    Law(
        name="fine_tuned",
        formula="E + A N^-alpha D^-beta",
        source="Zhang et al. 2024 (arXiv:2402.17193), eq. 1: one start, tuned on D",
        parameters=(floor(), coefficient("A"), exponent("alpha"), exponent("beta")),
        form=lambda p, x: p["E"] + p["A"] * power(x["N"], -p["alpha"]) * power(x["D"], -p["beta"]),
        natural=lambda p, c: {
            **p,
            "E": p["E"] * c["loss"],
            "A": p["A"] * c["loss"] * power(c["N"], p["alpha"]) * power(c["D"], p["beta"]),
        },
        linear=("E", "A"),
        distinct={"N": 2, "D": 2},
    ),
    Law(
        name="transfer_gap",
        formula="E + (A start_D^-alpha + G) D^-beta",
        source="Zhang et al. 2024 (arXiv:2402.17193), eq. 1, with the gap G that no start closes "
        "(Barnett 2024, arXiv:2408.16947): one size, begun with start_D, tuned on D",
        parameters=(
            floor(),
            *map(coefficient, "AG"),
            *map(exponent, ("alpha", "beta")),
        ),
        form=lambda p, x: (
            p["E"]
            + (p["A"] * power(x["start_D"], -p["alpha"]) + p["G"]) * power(x["D"], -p["beta"])
        ),
        natural=_gap_natural,
        columns=("start_D", "D"),
        linear=("E", "A", "G"),
        distinct={"start_D": 3, "D": 2},
    ),
)
