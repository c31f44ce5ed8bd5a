"""Parameters that papers published: N in parameters, D in tokens, loss in nats per token."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published parameter set: the law's name in the table, its parameters, the source."""

    law: str
    params: Mapping[str, float]
    source: str


PUBLISHED: dict[str, Published] = {
    "hoffmann2022_a3": Published(
        "chinchilla",
        {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28},
        "Hoffmann et al. 2022 (arXiv:2203.15556), approach 3, eq. 10",
    ),
    "besiroglu2024": Published(
        "chinchilla",
        {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658},
        "Besiroglu et al. 2024 (arXiv:2404.10102), table 1",
    ),
    "muennighoff2023_c4": Published(
        "tied",
        {
            "E": math.exp(0.6254804),
            "A": math.exp(6.255414),
            "B": math.exp(7.3049974),
            "alpha": 0.3526596,
        },
        "Muennighoff et al. 2023 (arXiv:2305.16264), constants of its released code, "
        "fitted on C4 without repetition",
    ),
    "kaplan2020": Published(
        "kaplan",
        {"Nc": 6.4e13, "Dc": 1.8e13, "alphaN": 0.076, "alphaD": 0.103},
        "Kaplan et al. 2020 (arXiv:2001.08361), table 2; N without embeddings",
    ),
}
