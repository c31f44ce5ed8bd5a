"""Figures for print: a `drawing.Figure` as a PNG or SVG file, by matplotlib."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaling.report.drawing import BAND, MARKERS, Axis, Figure, Series, log_ticks, power_label
from train.record import replacing


def to_image(figure: Figure, *paths: str | Path) -> None:
    """Draws a figure for a paper, to files whose names end in .png or .svg.

    Text is set at 8 to 9 points for a figure 5.5 inches wide, the text width of most templates.
    """
    _draw_all([figure], 1, (5.5, 3.4), paths)


def to_sheet(figures: Sequence[Figure], *paths: str | Path) -> None:
    """The same with several figures on one sheet, at most three side by side."""
    across = min(len(figures), 3)
    rows = -(-len(figures) // across)
    _draw_all(figures, across, (4.2 * across, 2.9 * rows), paths)


def _draw_all(
    figures: Sequence[Figure],
    across: int,
    inches: tuple[float, float],
    paths: Sequence[str | Path],
) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    # A fixed salt and no date: the same figure gives the same file.
    with rc_context(_PRINT | {"svg.hashsalt": "allometry"}):
        canvas = Canvas(figsize=inches, layout="constrained")
        for place, figure in enumerate(figures):
            _fill(canvas.add_subplot(-(-len(figures) // across), across, place + 1), figure)
        # The layout is the dearer half of the work, and the same for all files.
        canvas.draw_without_rendering()
        canvas.set_layout_engine(None)  # else each file would be laid out again
        for path in paths:
            _save(canvas, Path(path))


def _fill(axes: Any, figure: Figure) -> None:
    shown: set[str] = set()
    for order, series in enumerate(figure.series):
        _draw(axes, series, "_" if series.name in shown else _plain(series.name), order + 2)
        shown.add(series.name)
    _set_axis(axes, "x", figure.x)
    _set_axis(axes, "y", figure.y)
    axes.set_title(_plain(figure.title), loc="left")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best" if len(shown) <= 8 else "upper left", **_beside(len(shown)))


def _beside(entries: int) -> dict[str, Any]:
    """A long legend stands beside the axes, where it hides nothing."""
    return {"bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0} if entries > 8 else {}


def _save(canvas: Any, path: Path) -> None:
    kind = path.suffix.lstrip(".")
    date = {"metadata": {"Date": None}} if kind == "svg" else {}
    with replacing(path) as file:
        canvas.savefig(file, format=kind, dpi=200, **date)


def _plain(text: str) -> str:
    """Matplotlib reads what stands between dollar signs as mathematics."""
    return text.replace("$", r"\$")


def _draw(axes: Any, series: Series, label: str, order: int) -> None:
    common = {"color": series.rgb, "zorder": order, "label": label or "_"}
    alpha = 0.45 if series.faint else 1.0
    style = "--" if series.dashed else "-"
    if series.kind == "vline":
        for x in series.x:
            axes.axvline(x, color=series.rgb, linestyle=style, linewidth=0.8, zorder=1)
            at = axes.get_xaxis_transform()
            axes.text(x, 0.99, label + " ", transform=at, ha="right", va="top", color=series.rgb)
    elif series.kind == "band":
        low, high = list(series.y_low), list(series.y_high)
        axes.fill_between(list(series.x), low, high, alpha=BAND, linewidth=0, **common)
    elif series.kind == "line":
        width = 0.6 if series.faint else 1.4
        axes.plot(series.x, series.y, linestyle=style, linewidth=width, alpha=alpha, **common)
    else:
        _, shape, filled, size = MARKERS[series.marker]
        face = {} if filled else {"markerfacecolor": "none"}
        edge = {"linewidth": 1.2, "markeredgewidth": 0.0 if filled else 1.2}
        points = {"fmt": shape, "markersize": size * 0.6, "alpha": alpha} | edge | face
        bars = None
        if len(series.y_low):
            below = [y - low for low, y in zip(series.y_low, series.y)]
            bars = [below, [high - y for high, y in zip(series.y_high, series.y)]]
        axes.errorbar(series.x, series.y, yerr=bars, capsize=3, **points, **common)


def _set_axis(axes: Any, side: str, axis: Axis) -> None:
    from matplotlib import ticker

    target = getattr(axes, f"{side}axis")
    target.set_label_text(_plain(axis.label))
    if axis.names:
        target.set_ticks(range(len(axis.names)), [_plain(name) for name in axis.names])
        getattr(axes, f"set_{side}lim")(-0.6, len(axis.names) - 0.4)
    if axis.log:
        getattr(axes, f"set_{side}scale")("log")
        low, high = getattr(axes, f"get_{side}lim")()
        target.set_major_locator(ticker.FixedLocator(log_ticks(low, high)))
        target.set_major_formatter(lambda value, _: power_label(value, "${}^{{{}}}$"))
        target.set_minor_formatter(ticker.NullFormatter())
    if axis.percent:
        target.set_major_formatter(lambda value, _: f"{value:+.2%}" if value else "0%")


_PRINT = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "figure.facecolor": "white",
}
