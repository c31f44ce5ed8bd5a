"""Figures as plain data, drawn in two ways and nowhere else: interactive (plotly) and for print.

A `Figure` says what is shown; `to_html` makes it a piece of a page that can be hovered and zoomed,
`scaling.report.drawing_files.to_image` a PNG or SVG file. `plotly_script` goes once into a page
that holds such pieces.
"""

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Okabe and Ito 2008: told apart under all common kinds of colour blindness. Black and yellow are
# left out, since one of them vanishes on a dark page and the other on a white one.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#808080")
BLUE, VERMILION, GREEN, PINK, ORANGE, SKY, GREY = range(len(PALETTE))
BAND = 0.18  # opacity of bands on white

# Anchors of the ramp for ordered things (budgets, sizes): lightness rises steadily, and both ends
# keep their contrast on white and on black.
_RAMP = ("#5f3dc4", "#a13aa8", "#d6556d", "#ee8b3c")
_KINDS = ("line", "points", "band", "vline")
# shape of a point -> its name in plotly, in matplotlib, whether it is filled, size in px
MARKERS = {
    "circle": ("circle", "o", True, 7),
    "ring": ("circle-open", "o", False, 12),
    "diamond": ("diamond-open", "D", False, 11),
    "star": ("star", "*", True, 11),
}


@dataclass(frozen=True)
class Axis:
    """One axis; `names` puts words at the places 0, 1, 2, ... instead of numbers."""

    label: str
    log: bool = False
    names: tuple[str, ...] = ()
    percent: bool = False


Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Series:
    """Something drawn.

    Attributes:
      name: in the legend; series of one name share one entry, "" has none.
      x, y: [n] values. A "vline" stands at each x and needs no y.
      kind: "line", "points", "band" (between y_low and y_high) or "vline".
      y_low, y_high: [n] ends of error bars, or of the band.
      hover: what a pointer is told, one text a point or one for all.
      colour: index into `PALETTE`.
      shade: place on the ramp from 0 to 1, for ordered things; takes the place of `colour`.
      marker: shape of points, a key of `MARKERS`.
      faint: thin and half transparent, for what must not draw the eye.
    """

    name: str
    x: Numbers
    y: Numbers = ()
    kind: str = "line"
    y_low: Numbers = ()
    y_high: Numbers = ()
    hover: str | Sequence[str] = ""
    colour: int = BLUE
    shade: float | None = None
    marker: str = "circle"
    dashed: bool = False
    faint: bool = False

    def __post_init__(self):
        if self.kind not in _KINDS:
            raise ValueError(f"kind: {self.kind!r}; allowed: {', '.join(_KINDS)}")
        wanted = {"band": ("y_low", "y_high"), "vline": ()}.get(self.kind, ("y",))
        for field in wanted:
            if len(getattr(self, field)) != len(self.x):
                raise ValueError(f"{field}: {len(getattr(self, field))} values for {len(self.x)} x")

    @property
    def rgb(self) -> str:
        """Its colour, as #rrggbb."""
        return PALETTE[self.colour] if self.shade is None else ramp(self.shade)


@dataclass(frozen=True)
class Figure:
    """A title, two axes and what is drawn on them, the first series at the bottom."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]


def ramp(place: float) -> str:
    """Colour at a place from 0 to 1 of the ramp for ordered things."""
    at = min(max(place, 0.0), 1.0) * (len(_RAMP) - 1)
    low = min(int(at), len(_RAMP) - 2)
    ends = [[int(_RAMP[low + i][j : j + 2], 16) for j in (1, 3, 5)] for i in (0, 1)]
    mixed = [round(a + (at - low) * (b - a)) for a, b in zip(*ends)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def to_html(figure: Figure) -> str:
    """A piece of HTML that the page's `plotly_script` turns into an interactive figure."""
    shown: set[str] = set()
    traces, shapes, notes = [], [], []
    for series in figure.series:
        if series.kind == "vline":
            shapes += [_vline(series, x) for x in series.x]
            notes += [_vline_label(series, x, figure.x.log) for x in series.x]
        elif series.kind == "band":
            traces += _band(series, shown)
        else:
            traces.append(_trace(series, shown))
        shown.add(series.name)
    layout = {
        "xaxis": _plotly_axis(figure.x, [x for series in figure.series for x in series.x]),
        "yaxis": _plotly_axis(figure.y, [y for series in figure.series for y in _heights(series)]),
        "shapes": shapes,
        "annotations": notes,
    }
    # "<" would let a text end the script element.
    data = json.dumps({"data": traces, "layout": layout}, allow_nan=False).replace("<", "\\u003c")
    title = html.escape(figure.title)
    return (
        f'<h3>{title}</h3><div class="figure" role="img" aria-label="{title}">'
        f'<script type="application/json">{data}</script></div>'
    )


def plotly_script() -> str:
    """The library and the code that draws all figures of the page; about 4.8 MB, once a page."""
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>\n<script>{_DRAW}</script>"


def _text(text: str) -> str:
    """Plotly reads texts as HTML."""
    return html.escape(str(text)).replace("\n", "<br>")


def _values(values: Sequence[float]) -> list[float | None]:
    """JSON has no NaN; plotly leaves a gap where it finds null."""
    return [float(f"{v:.8g}") if math.isfinite(v) else None for v in map(float, values)]


def _legend(series: Series, shown: set[str]) -> dict[str, Any]:
    new = bool(series.name) and series.name not in shown
    return {"name": _text(series.name), "legendgroup": series.name, "showlegend": new}


def _trace(series: Series, shown: set[str]) -> dict[str, Any]:
    trace = {"type": "scatter", "x": _values(series.x), "y": _values(series.y)}
    trace |= _legend(series, shown) | {"opacity": 0.45 if series.faint else 1.0}
    if series.kind == "line":
        dash = "dash" if series.dashed else "solid"
        trace |= {"mode": "lines"}
        trace |= {"line": {"color": series.rgb, "width": 2, "dash": dash, "simplify": False}}
    else:
        shape, _, _, size = MARKERS[series.marker]
        marker = {"color": series.rgb, "symbol": shape, "size": size, "line": {"width": 2}}
        marker |= {} if shape.endswith("-open") else {"line": {"width": 0}}
        trace |= {"mode": "markers", "marker": marker}
    if len(series.y_low):
        above = [high - y for high, y in zip(series.y_high, series.y)]
        below = [y - low for low, y in zip(series.y_low, series.y)]
        bar = {"array": _values(above), "arrayminus": _values(below), "symmetric": False}
        trace["error_y"] = bar | {"type": "data", "color": series.rgb, "thickness": 2, "width": 6}
    if len(series.hover):
        # One text a point even where all are the same: on lines plotly has none but these.
        one = isinstance(series.hover, str)
        texts = [series.hover] * len(series.x) if one else series.hover
        trace["text"] = [_text(text) for text in texts]
        at = "<br>%{x:.4~g}, %{y:.4~g}" if one else ""
        trace["hovertemplate"] = "%{text}" + at + "<extra></extra>"
    else:
        label = f"{_text(series.name)}<br>" if series.name else ""
        trace["hovertemplate"] = label + "%{x:.4~g}, %{y:.4~g}<extra></extra>"
    return trace


def _band(series: Series, shown: set[str]) -> list[dict[str, Any]]:
    common = {"type": "scatter", "mode": "lines", "line": {"width": 0, "color": series.rgb}}
    common |= {"x": _values(series.x), "hoverinfo": "skip"} | _legend(series, shown)
    fill = {"fill": "tonexty", "fillcolor": series.rgb}  # `_DRAW` makes it see-through
    low = common | {"y": _values(series.y_low), "showlegend": False}
    return [low, common | fill | {"y": _values(series.y_high)}]


def _vline(series: Series, x: float) -> dict[str, Any]:
    line = {"color": series.rgb, "width": 1, "dash": "dash" if series.dashed else "solid"}
    ends = {"x0": float(x), "x1": float(x), "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", "layer": "below", "line": line} | ends


def _vline_label(series: Series, x: float, log: bool) -> dict[str, Any]:
    # Shapes on a log axis stand at values, annotations at their logarithm: plotly's own rule.
    at = {"x": math.log10(x) if log else float(x), "y": 1, "yref": "paper"}
    place = {"xanchor": "right", "yanchor": "top", "showarrow": False, "xshift": -3}
    return {"text": _text(series.name), "font": {"color": series.rgb, "size": 11}} | at | place


def _heights(series: Series) -> list[float]:
    return [*series.y, *series.y_low, *series.y_high]


def _plotly_axis(axis: Axis, values: Sequence[float]) -> dict[str, Any]:
    out: dict[str, Any] = {"title": {"text": _text(axis.label)}, "automargin": True}
    if axis.names:
        places = list(range(len(axis.names)))
        out |= {"tickvals": places, "ticktext": [_text(name) for name in axis.names]}
        out |= {"tickangle": -40, "ticklabeloverflow": "allow"}  # else plotly drops some
        return out | {"range": [-0.6, len(axis.names) - 0.4]}
    if axis.log:
        out |= {"type": "log", "exponentformat": "power", "minexponent": 4}
        above = [value for value in values if 0 < value < math.inf]
        if above:  # plotly's own labels return when the reader zooms, see `_DRAW`
            ticks = log_ticks(min(above) / 1.05, max(above) * 1.05)
            labels = [power_label(tick, "{}<sup>{}</sup>") for tick in ticks]
            out |= {"tickmode": "array", "tickvals": ticks, "ticktext": labels}
    return out | ({"tickformat": "+.2~%"} if axis.percent else {})


def log_ticks(low: float, high: float) -> list[float]:
    """Places of the labels on a log axis: three to eight round numbers from `low` to `high`."""
    decades = math.log10(high / low)
    if decades < 0.7:  # less than a factor of five: the round steps of a linear axis
        widest = (high - low) / 4
        step = 10 ** math.floor(math.log10(widest))
        step *= max(factor for factor in (1, 2, 5) if factor * step <= widest)
        first = math.ceil(low / step - 1e-9)
        return [float(f"{i * step:.12g}") for i in range(first, int(high / step + 1e-9) + 1)]
    factors = (1, 2, 5) if decades < 2 else (1, 3) if decades < 4 else (1,)
    every = max(1, math.ceil(decades / 8))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**p for p in powers if p % every == 0 for m in factors]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def power_label(value: float, form: str) -> str:
    """A tick's text; `form` sets a base and its exponent."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    factor = "" if float(mantissa) == 1 else f"{float(mantissa):g}×"
    return factor + form.format(10, int(exponent))


_DRAW = """
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const axes = ["xaxis", "yaxis"];
  const theme = isDark => {
    const [ink, grid] = isDark ? ["#d8dce2", "#32373f"] : ["#23272e", "#e7e9ec"];
    const axis = name => ({[name + ".gridcolor"]: grid, [name + ".linecolor"]: grid,
      [name + ".zerolinecolor"]: grid});
    return {"font.color": ink, "hoverlabel.bgcolor": isDark ? "#22262c" : "#ffffff",
      "hoverlabel.font.color": ink, ...axis("xaxis"), ...axis("yaxis")};
  };
  // The same share of a colour is far fainter on black than on white.
  const opacity = isDark => isDark ? "4d" : "BAND";
  const paint = (place, isDark, more) => {
    const bands = place.data.flatMap((trace, index) => trace.fill ? [index] : []);
    const colours = bands.map(i => place.data[i].fillcolor.slice(0, 7) + opacity(isDark));
    const restyle = bands.length ? {fillcolor: colours} : {};
    return Plotly.update(place, restyle, {...theme(isDark), ...more}, bands);
  };
  // The round labels fit the whole figure; in a part of it plotly finds its own.
  const relabel = (place, change) => {
    const update = {};
    for (const axis of axes) {
      const zoomed = axis + ".range[0]" in change, whole = axis + ".autorange" in change;
      if (place.layout[axis].type === "log" && (zoomed || whole))
        update[axis + ".tickmode"] = whole ? "array" : "auto";
    }
    if (Object.keys(update).length) Plotly.relayout(place, update);
  };
  const all = [...document.querySelectorAll("div.figure")];
  for (const place of all) {
    const figure = JSON.parse(place.querySelector("script").textContent);
    const layout = Object.assign(figure.layout, {
      font: {family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 12},
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
      margin: {l: 56, r: 12, t: 24, b: 48}, dragmode: "zoom",
      legend: {orientation: "h", yanchor: "bottom", y: 1.02, x: 0, maxheight: 0.9,
        font: {size: 11}}});
    // All buttons by name: plotly's own set has one that uploads the figure.
    const buttons = [["zoom2d", "pan2d", "resetScale2d", "toImage"]];
    Plotly.newPlot(place, figure.data, layout, {responsive: true, displaylogo: false,
      modeBarButtons: buttons, showSendToCloud: false,
      toImageButtonOptions: {filename: place.getAttribute("aria-label"), scale: 2}})
      .then(() => paint(place, dark.matches))
      .then(() => place.on("plotly_relayout", change => relabel(place, change)));
  }
  dark.addEventListener("change", () => all.forEach(place => paint(place, dark.matches)));
  // Paper is white, and narrower than most windows.
  addEventListener("beforeprint", () => all.forEach(place =>
    paint(place, false, {width: Math.min(place.clientWidth, 640), height: 360})));
  addEventListener("afterprint", () => all.forEach(place =>
    paint(place, dark.matches, {width: null, height: null, autosize: true})));
})();
""".replace("BAND", f"{round(255 * BAND):02x}")
