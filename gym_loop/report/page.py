"""The report as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from gym_loop.report import tables
from gym_loop.report.content import Content
from gym_loop.report.figures import Chart, Figure, Line
from gym_loop.report.statistics import count_of
from gym_loop.report.svg import COLOURS, DASHES, GEOMETRY, drawn, shares, style_of
from gym_loop.runs.bootstrap import Floats
from gym_loop.runs.manifest import versions
from gym_loop.schema.files import read_regular

VIDEO_BYTES = 8_000_000  # of all videos in the page; the others are linked
_STATIC = Path(__file__).with_name("static")
_SHARED = Path(__file__).parents[1] / "serve" / "static" / "style.css"
_SECTIONS = {
    "curves": "Learning curves",
    "evaluation": "Evaluations",
    "agent": "Metrics of the agents",
    "other": "Other metrics",
    "speed": "Speed",
}


def write_page(content: Content, path: Path, title: str, intro: str = "") -> str:
    """The page as text.

    Args:
        content: what it says.
        path: where it will be, which links to videos start from.
        title: its heading.
        intro: HTML that comes before everything else.
    """
    style = _SHARED.read_text("utf-8") + _static("report.css")
    script = _static("report.js")
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}';"
        " media-src data:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    return Template(_static("page.html")).substitute(
        policy=policy,
        version=versions().get("gym-loop", ""),
        title=escape(title),
        style=style,
        runs=count_of(len(content.runs)),
        envs=escape(", ".join(dict.fromkeys(run.env for run in content.runs))),
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        legend=_legend(content),
        intro=intro,
        remarks=_remarks(content),
        sections=_joined(_sections(content, path)),
        data=_data(content),
        script=script,
    )


def _static(name: str) -> str:
    return (_STATIC / name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(part for part in parts if part)


# -- the parts of the page ---------------------------------------------------------------------


def _legend(content: Content) -> str:
    buttons = [
        f'<button type="button" data-group="{index}" aria-pressed="true"><svg viewBox="0 0 34 10">'
        f'<path class="line {style_of(index)}" d="M0 5H34"/></svg>{escape(group.name)}</button>'
        for index, group in enumerate(content.groups)
    ]
    return (
        '<nav id="legend" class="card row" aria-label="Groups and view">'
        f'{_joined(buttons)}<span class="tools" hidden>'
        '<button type="button" id="singles" aria-pressed="false">Single runs</button>'
        ' <button type="button" id="unzoom">Zoom out</button></span></nav>'
    )


def _remarks(content: Content) -> str:
    if not content.remarks:
        return ""
    items = "".join(f"<li>{escape(one[0].upper() + one[1:])}.</li>" for one in content.remarks)
    return section("Read this first", f"<ul>{items}</ul>", "card mind") + "\n"


def _sections(content: Content, path: Path) -> list[str]:
    charts = {
        title: _charts([one for one in content.charts if one.section == section])
        for section, title in _SECTIONS.items()
    }
    scores = _charts(content.score_figures) + tables.improvement_table(content)
    parts = {
        "Groups": tables.summary_table(content),
        **dict.fromkeys(list(charts)[:2]),  # the comparison comes after these
        "Comparison": scores if content.scores.of else "",
        **charts,
        "Where the time went": _time(content),
        "What differs between the groups": tables.difference_table(content),
        "Runs": tables.run_table(content),
        "Videos": _videos(content, path),
        "How these numbers were made": _static("how.html"),
    }
    return [section(title, inside) for title, inside in parts.items() if inside]


def section(title: str, inside: str, style: str = "card") -> str:
    """A part of the page."""
    return f'<section class="{style}"><h2>{title}</h2>{inside}</section>'


def _charts(figures: Sequence[Figure]) -> str:
    if not figures:
        return ""
    parts = []
    for figure in figures:
        data = ""
        if isinstance(figure, Chart):
            key, unit = escape(figure.key, quote=True), escape(figure.x_label, quote=True)
            data = f' data-chart="{key}" data-x="{unit}" data-start="{figure.start:.6g}"'
        parts.append(_figure(figure.title, drawn(figure), data))
    return f'<div class="charts">{_joined(parts)}</div>'


def _figure(title: str, drawing: str, data: str = "") -> str:
    caption = f"<figcaption>{escape(title)}</figcaption>"
    return f'<figure class="chart"{data}>{caption}{drawing}</figure>'


def _time(content: Content) -> str:
    if not content.time:
        return (
            "<p>Not measured. Set <code>loop.parameters.profile: true</code> in the run file to see"
            " the shares of environment, agent and logging.</p>"
        )
    bars = [_figure(name, shares(parts, name)) for name, parts in content.time]
    return f'<div class="charts">{_joined(bars)}</div>{tables.time_table(content)}'


def _videos(content: Content, page: Path) -> str:
    """The newest video of each run: in the page as long as they are small, else a link."""
    left, films = VIDEO_BYTES, []
    for run in content.runs:
        if not run.videos:
            continue
        video = run.videos[-1]
        try:
            film = read_regular(video, left) if video.lstat().st_size <= left else b""
        except OSError:
            continue
        whole = base64.b64encode(film).decode()
        link = quote(os.path.relpath(video.resolve(), page.resolve().parent))
        name = f'{escape(run.run)}: <a href="{link}">{escape(video.name)}</a>'
        if whole:
            left -= len(film)
            label = escape(f"Video of {run.run}", quote=True)
            name = (
                f'<video controls muted loop preload="metadata" aria-label="{label}"'
                f' src="data:video/mp4;base64,{whole}"></video><p>{name}</p>'
            )
        films.append(f"<div>{name}</div>")
    if not any(run.videos for run in content.runs):
        return ""
    return (
        f'<p class="quiet">The newest of each run; {VIDEO_BYTES // 1_000_000} MB at most are in'
        f' this page, the others are linked.</p><div class="films">{_joined(films)}</div>'
    )


# -- data for the script -----------------------------------------------------------------------


def _data(content: Content) -> str:
    charts = [*content.charts, *(one for one in content.score_figures if isinstance(one, Chart))]
    data = {
        "geometry": GEOMETRY,
        "colours": len(COLOURS),
        "dashes": len(DASHES),
        "hidden": content.hidden,
        "charts": {chart.key: [_line(line) for line in chart.lines] for chart in charts},
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _line(line: Line) -> dict[str, Any]:
    x = _numbers(line.x)
    if len(x) > 2:
        step = float(line.x[1] - line.x[0])
        if abs(float(line.x[-1]) - (float(line.x[0]) + step * (len(x) - 1))) < step / 10:
            x = [float(line.x[0]), step]
    found: dict[str, Any] = {
        "name": line.group,
        "g": line.index,
        "x": x,
        "y": _numbers(line.y),
        "l": _numbers(line.low),
        "h": _numbers(line.high),
        "n": [int(count) for count in line.count],
    }
    if line.runs:
        found["r"] = {run: _numbers(values) for run, values in line.runs.items()}
    return found


def _numbers(values: Floats) -> list[float | None]:
    """Five digits are more than a screen shows."""
    return [float(f"{one:.5g}") if math.isfinite(one) else None for one in values.tolist()]
