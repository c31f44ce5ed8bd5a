"""From one loss to another loss, and from loss to task error."""

from scaling.laws.law import Law, Parameter, power, scale, xp


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
)
