"""Figures as SVG: in the page, where the page's style colours them, and as files of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from gym_loop.report.figures import Chart, Figure, Line, Rows
from gym_loop.report.statistics import Estimate
from gym_loop.runs.bootstrap import Floats

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 10, 46
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
    if isinstance(figure, Rows):
        return _rows(figure)
    return _chart(figure)


def standalone(figure: Figure) -> str:
    """A figure as an SVG file: light, with its title and legend."""
    inner, height = _inside(drawn(figure)), _height(figure)
    head = f'<text x="{LEFT}" y="18" font-weight="bold">{escape(figure.title)}</text>'
    entries = []
    if isinstance(figure, Chart):
        for place, (name, index) in enumerate(_named(figure.lines)):
            y = 30 + height + 18 * place
            entries.append(
                f'<path class="line {style_of(index)}" d="M{LEFT} {y}h30"/>'
                f'<text x="{LEFT + 38}" y="{y + 4}">{escape(name)}</text>'
            )
    total = 30 + height + 18 * len(entries) + 6
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}"'
        f' height="{total}"><style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        f'{head}<g transform="translate(0 26)">{inner}</g>{"".join(entries)}</svg>\n'
    )


def _named(lines: Sequence[Line]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((line.group, line.index) for line in lines))


def _inside(svg: str) -> str:
    return svg[svg.index(">") + 1 : svg.rindex("</svg>")]


def _height(figure: Figure) -> int:
    return HEIGHT if isinstance(figure, Chart) else ROW * len(figure.rows) + BOTTOM + TOP


# -- curves ------------------------------------------------------------------------------------


def _chart(chart: Chart) -> str:
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
    label = escape(_spoken(chart), quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<g class="axes">{_axes(scale_x, scale_y)}</g>'
        f'<text class="name" x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{HEIGHT - 6}"'
        f' text-anchor="middle">{escape(chart.x_label)}</text>'
        f'<g class="marks">{"".join(marks)}</g></svg>'
    )


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


class _Scale:
    """From values to the drawing's units."""

    def __init__(self, values: tuple[float, float], places: tuple[float, float]) -> None:
        self.values, self.places = values, places

    def __call__(self, value: Floats | float) -> Floats:
        (low, high), (start, end) = self.values, self.places
        part = (np.asarray(value, np.float64) - low) / (high - low)
        return np.asarray(start + part * (end - start))


def _points(x: Floats, y: Floats) -> str:
    return "L".join(f"{a:.4g} {b:.4g}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _axes(scale_x: _Scale, scale_y: _Scale) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value in ticks(*scale_x.values, 6):
        x = f"{float(scale_x(value)):.4g}"
        parts.append(
            f'<path class="grid" d="M{x} {TOP}V{bottom}"/>'
            f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{compact(value)}</text>'
        )
    for value in ticks(*scale_y.values, 5):
        y = float(scale_y(value))
        parts.append(
            f'<path class="grid" d="M{LEFT} {y:.4g}H{right}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.4g}" text-anchor="end">{compact(value)}</text>'
        )
    parts.append(f'<path class="frame" d="M{LEFT} {TOP}V{bottom}H{right}"/>')
    return "".join(parts)


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


def _spoken(chart: Chart) -> str:
    """What a screen reader says of a chart."""
    last = [
        f"{line.group} {line.y[-1]:.4g}" + _between(line.low[-1], line.high[-1])
        for line in chart.lines
        if len(line.y)
    ]
    return f"{chart.title} over {chart.x_label}. At the end: {'; '.join(last)}."


def _between(low: float, high: float) -> str:
    return f" ({low:.4g} to {high:.4g})" if math.isfinite(low) and high > low else ""


# -- intervals ---------------------------------------------------------------------------------


def _rows(figure: Rows) -> str:
    height = _height(figure)
    ends = [value for _, _, one in figure.rows for value in one if math.isfinite(value)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    air = 0.06 * (high - low) or abs(low) / 10 or 1.0
    scale = _Scale((low - air, high + air), (LEFT, WIDTH - RIGHT))
    bottom = height - BOTTOM
    axis = [
        f'<path class="grid" d="M{float(scale(value)):.4g} {TOP}V{bottom}"/>'
        f'<text x="{float(scale(value)):.4g}" y="{bottom + 18}" text-anchor="middle">'
        f"{compact(value)}</text>"
        for value in ticks(*scale.values, 6)
    ]
    marks = [_row(place, *row, scale) for place, row in enumerate(figure.rows)]
    spoken = "; ".join(
        f"{name} {one.value:.4g}{_between(one.low, one.high)}" for name, _, one in figure.rows
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img"'
        f' aria-label="{escape(figure.title, quote=True)}: {escape(spoken, quote=True)}">'
        f'<g class="axes">{_joined(axis)}</g><g class="marks">{_joined(marks)}</g></svg>'
    )


def _row(place: int, name: str, index: int, one: Estimate, scale: _Scale) -> str:
    y, style = TOP + ROW * place + 24, style_of(index)
    whisker = ""
    if math.isfinite(one.low):
        start, end = float(scale(one.low)), float(scale(one.high))
        whisker = f'<path class="whisker {style}" d="M{start:.4g} {y}H{end:.4g}"/>'
    text = f"{name}  {one.value:.4g}{_between(one.low, one.high)}"
    return (
        f'{whisker}<circle class="dot {style}" cx="{float(scale(one.value)):.4g}" cy="{y}"'
        f' r="4.5"/><text x="{LEFT}" y="{y - 10}">{escape(text)}</text>'
    )


def _joined(parts: Iterable[str]) -> str:
    return "".join(parts)


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
    return f'<svg viewBox="0 0 {WIDTH} 22" role="img" aria-label="{label}">{_joined(marks)}</svg>'
