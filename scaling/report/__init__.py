"""Pages that show a study or a fit, made from files alone: see `write` and `write_fit_page`."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from scaling.fit.fitted import Fit

__all__ = ["write", "write_fit_page"]


def write(study_dir: str | Path, out: str | Path | None = None, refused: str = "") -> Path:
    """Writes the report of a study, and its figures as PNG and SVG under `figures` beside it.

    Args:
      study_dir: folder with plan.json and, as far as the study has come, runs/<run>/record.json,
        isoflop.json, law.json, forecast.json and score.json. What is not there yet is said.
      out: the page; default `report.html` in the study's folder.
      refused: why no forecast could be sealed, in words; computed again where it is not given.

    Returns:
      The page's path.

    Raises:
      InputError: a file is missing, corrupt or cannot be written, with its name.
    """
    from scaling.report import curves, files, findings, page, sections

    study = files.read(Path(study_dir))
    path = Path(out) if out else Path(study_dir) / "report.html"
    found = findings.find(study, refused)
    figures = curves.figures(study, found)
    body = sections.body(study, found, figures)
    page.save(path, f"{study.name}: a scaling study", body, figures)
    return path


def write_fit_page(fit: "Fit", runs: "pd.DataFrame", path: str | Path) -> Path:
    """Writes a page about one fit to anyone's runs, and its figures beside it.

    Args:
      fit: from `scaling.fit.fit`.
      runs: the table it was fitted to, held-out rows included (see `scaling.runs.table.read_runs`).
      path: the page; figures go to the folder `figures` beside it.

    Returns:
      The page's path.

    Raises:
      InputError: the page cannot be written.
    """
    from scaling.report import fit_page, page

    figures = fit_page.figures(fit, runs)
    page.save(Path(path), f"{fit.law.name}: a fitted law", fit_page.body(fit, figures), figures)
    return Path(path)
