"""All that a report computes from a study's files, once, for its figures and its tables."""

from dataclasses import dataclass

from scaling.fit.envelope import EnvelopeFit
from scaling.report import outlook
from scaling.report.exponents import Estimate, envelope_of, estimates
from scaling.report.files import Study
from scaling.report.frontier import Advice, advise
from scaling.report.marks import fitted
from scaling.report.outlook import Outlook


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
      advice: the law's best sizes along the study's compute; None without a law that has them.
      first: approach 1, or why there is none, in words.
      C: the budget at which the approaches are compared: the largest that was planned.
      estimates: of each approach.
      outlook: what lies ahead.
    """

    advice: Advice | None
    first: EnvelopeFit | str
    C: float
    estimates: tuple[Estimate, ...]
    outlook: Outlook


def find(study: Study, refused: str = "") -> Findings:
    """Computes them; `refused` says why the study has no forecast, where sealing said so."""
    C = [run.C for run in study.runs]
    seen = max((run.C for run in fitted(study)), default=max(C))
    first = envelope_of(study)
    return Findings(
        advise(study.fit, min(C) / 1.1, max(C) * 1.3, seen) if study.fit else None,
        first,
        max(C),
        estimates(study, first, max(C)),
        outlook.look(study, refused),
    )
