"""Figures as SVG: in the page, where the page's style colours them, and as files of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import NamedTuple

import numpy as np

from gym_loop.report.figures import Chart, Figure, Rows
from gym_loop.runs.bootstrap import Floats

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 10, 46
GEOMETRY = {
    **{"width": WIDTH, "height": HEIGHT},
    **{"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
}
ROW = 34  # height of one row of intervals
LETTER = 9  # width of one, with some air
# Okabe and Ito's colours, told apart by colour-blind people too; two are darkened for white paper.
COLOURS = ("#0072b2", "#d55e00", "#00815e", "#aa4c83", "#a86f00", "#2a87bd", "#333333")
DASHES = ("none", "7 3", "2 2.5", "9 3 2 3")
# The same styles under the names that the page's sheet uses, for a file that has no sheet.
STYLE = (
    "text{font:13px sans-serif;fill:#222}.frame,.grid{stroke:#888;fill:none}.grid{stroke:#ddd}"
    + "".join(
        f".l{n}{{stroke:{colour}}}.band.l{n},.dot.l{n}{{fill:{colour}}}"
        for n, colour in enumerate(COLOURS)
    )
    + "".join(f".d{n}{{stroke-dasharray:{dash}}}" for n, dash in enumerate(DASHES))
    + ".line,.whisker{fill:none;stroke-width:2}.band{stroke:none;fill-opacity:.18}"
    ".whisker,.dot{stroke-dasharray:none}"
)


def style_of(index: int) -> str:
    """The classes of a group: colours and dashes repeat only after 28 groups."""
    return f"l{index % len(COLOURS)} d{index % len(DASHES)}"


def drawn(figure: Figure) -> str:
    """A figure as an ``svg`` element of the page."""
    inside, spoken = _inside(figure)
    label = escape(f"{figure.title}{spoken}", quote=True)
    size = f"{WIDTH} {_height(figure)}"
    return f'<svg viewBox="0 0 {size}" role="img" aria-label="{label}">{inside}</svg>'


def standalone(figure: Figure) -> str:
    """A figure as an SVG file: light, with its title and legend."""
    inside, height = _inside(figure)[0], _height(figure)
    head = f'<text x="{LEFT}" y="18" font-weight="bold">{escape(figure.title)}</text>'
    lines = figure.lines if isinstance(figure, Chart) else []
    entries = []
    for place, (name, index) in enumerate(dict.fromkeys((one.group, one.index) for one in lines)):
        y = 30 + height + 18 * place
        entries.append(
            f'<path class="line {style_of(index)}" d="M{LEFT} {y}h30"/>'
            f'<text x="{LEFT + 38}" y="{y + 4}">{escape(name)}</text>'
        )
    total = 30 + height + 18 * len(entries) + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}"'
        f' height="{total}"><style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'{head}<g transform="translate(0 26)">{inside}</g>{"".join(entries)}</svg>\n'
    )


def _height(figure: Figure) -> int:
    return HEIGHT if isinstance(figure, Chart) else ROW * len(figure.rows) + BOTTOM + TOP


def _inside(figure: Figure) -> tuple[str, str]:
    """Axes and marks of a figure, and what a screen reader says of them after its title."""
    axes, marks, spoken = _rows(figure) if isinstance(figure, Rows) else _chart(figure)
    name = ""
    if isinstance(figure, Chart):
        name = (
            f'<text class="name" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 6}"'
            f' text-anchor="middle">{escape(figure.x_label)}</text>'
        )
    return f'<g class="axes">{axes}</g>{name}<g class="marks">{"".join(marks)}</g>', spoken


# -- curves ------------------------------------------------------------------------------------


def _chart(chart: Chart) -> tuple[str, list[str], str]:
    """Axes, marks, and what they say."""
    x_range, y_range = ranges(chart)
    scale_x = _Scale(x_range, (LEFT, WIDTH - RIGHT))
    scale_y = _Scale(y_range, (HEIGHT - BOTTOM, TOP))
    marks = []
    for line in chart.lines:
        x, style = scale_x(line.x), style_of(line.index)
        known = np.isfinite(line.low) & np.isfinite(line.high)
        band = ""
        if known.any():
            there = _points(x[known], scale_y(line.low[known]))
            back = _points(x[known][::-1], scale_y(line.high[known][::-1]))
            band = f"M{there}L{back}Z"
        path = f"M{_points(x, scale_y(line.y))}" if len(x) else ""
        path += "m-3 0h6" * (len(x) == 1)  # a point would not be seen
        marks.append(
            f'<path class="band {style}" data-group="{line.index}" d="{band}"/>'
            f'<path class="line {style}" data-group="{line.index}" d="{path}"/>'
        )
    right, bottom, axes = WIDTH - RIGHT, HEIGHT - BOTTOM, _grid(scale_x, HEIGHT - BOTTOM)
    for value in ticks(*y_range, 5):
        y = float(scale_y(value))
        axes += (
            f'<path class="grid" d="M{LEFT} {y:.4g}H{right}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.4g}" text-anchor="end">{compact(value)}</text>'
        )
    axes += f'<path class="frame" d="M{LEFT} {TOP}V{bottom}H{right}"/>'
    ends = [
        f"{line.group} {line.y[-1]:.4g}" + _between(line.low[-1], line.high[-1])
        for line in chart.lines
        if len(line.y)
    ]
    return axes, marks, f" over {chart.x_label}. At the end: {'; '.join(ends)}."


def ranges(chart: Chart) -> tuple[tuple[float, float], tuple[float, float]]:
    """What the axes of a chart span: all of its lines and bands."""
    lines, x_low = chart.lines, chart.start
    x_high = max(float(line.x[-1]) for line in lines)
    values = np.concatenate([part for line in lines for part in (line.y, line.low, line.high)])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-300):
        half = abs(low) / 10 or 1.0
        low, high = low - half, high + half
    air = 0.04 * (high - low)
    return (x_low, x_high if x_high > x_low else x_low + 1), (low - air, high + air)


class _Scale(NamedTuple):
    """From values to the drawing's units."""

    values: tuple[float, float]
    places: tuple[float, float]

    def __call__(self, value: Floats | float) -> Floats:
        (low, high), (start, end) = self
        part = (np.asarray(value, np.float64) - low) / (high - low)
        return np.asarray(start + part * (end - start))


def _points(x: Floats, y: Floats) -> str:
    return "L".join(f"{a:.4g} {b:.4g}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _grid(scale: _Scale, bottom: int) -> str:
    """The vertical lines, and their values below them."""
    places = [(f"{float(scale(value)):.4g}", compact(value)) for value in ticks(*scale.values, 6)]
    return "".join(
        f'<path class="grid" d="M{x} {TOP}V{bottom}"/>'
        f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{text}</text>'
        for x, text in places
    )


def ticks(low: float, high: float, count: int) -> list[float]:
    """About so many round values in a range."""
    rough = (high - low) / count
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def compact(value: float) -> str:
    """A number in few characters: 20k, 1.5M, -0.25."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (10 if sign == "k" else 1) and abs(value) < 1e12:
            return f"{value / size:.4g}{sign}"
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"


def _between(low: float, high: float) -> str:
    return f" ({low:.4g} to {high:.4g})" if math.isfinite(low) and high > low else ""


# -- intervals ---------------------------------------------------------------------------------


def _rows(figure: Rows) -> tuple[str, list[str], str]:
    """Axes, marks, and what they say."""
    ends = [value for _, _, one in figure.rows for value in one if math.isfinite(value)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    air = 0.06 * (high - low) or abs(low) / 10 or 1.0
    scale = _Scale((low - air, high + air), (LEFT, WIDTH - RIGHT))
    marks, spoken = [], []
    for place, (name, index, one) in enumerate(figure.rows):
        y, style = TOP + ROW * place + 24, style_of(index)
        value, start, end = (f"{float(scale(part)):.4g}" for part in one)
        if math.isfinite(one.low):
            marks.append(f'<path class="whisker {style}" d="M{start} {y}H{end}"/>')
        text = f"{one.value:.4g}{_between(one.low, one.high)}"
        marks.append(
            f'<circle class="dot {style}" cx="{value}" cy="{y}" r="4.5"/>'
            f'<text x="{LEFT}" y="{y - 10}">{escape(f"{name}  {text}")}</text>'
        )
        spoken.append(f"{name} {text}")
    return _grid(scale, _height(figure) - BOTTOM), marks, f": {'; '.join(spoken)}"


def shares(parts: Mapping[str, float], title: str) -> str:
    """A bar of parts that make up a whole, each as wide as its share."""
    total = sum(parts.values()) or 1.0
    marks, x = [], 0.0
    for place, (name, value) in enumerate(parts.items()):
        share = value / total * WIDTH
        kind = f"l{place}" if place < len(COLOURS) else "rest"
        marks.append(
            f'<rect class="part {kind}" x="{x:.5g}" width="{share:.5g}" height="22">'
            f"<title>{escape(name)}: {value / total:.1%}</title></rect>"
        )
        if share > LETTER * len(name):
            marks.append(f'<text class="on" x="{x + 6:.5g}" y="16">{escape(name)}</text>')
        x += share
    spoken = ", ".join(f"{name} {value / total:.0%}" for name, value in parts.items())
    label = escape(f"{title}: {spoken}", quote=True)
    return f'<svg viewBox="0 0 {WIDTH} 22" role="img" aria-label="{label}">{"".join(marks)}</svg>'
