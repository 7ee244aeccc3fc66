"""Figures and tables as files for a paper: SVG, PNG and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gym_loop.errors import UsageError
from gym_loop.report.content import Content
from gym_loop.report.figures import Chart, Figure, Rows
from gym_loop.report.grouping import differing_keys
from gym_loop.report.svg import COLOURS, DASHES, standalone
from gym_loop.schema.printable import as_cell

DPI = 200
LEGEND_INSIDE = 3  # groups; the legend of more is below the figure
_MATPLOTLIB_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1)), (0, (6, 2, 1.5, 2)))
assert len(_MATPLOTLIB_DASHES) == len(DASHES)


def write_svg(content: Content, directory: Path) -> list[Path]:
    """One SVG file a figure.

    Raises:
        UsageError: the directory cannot be written.
    """
    return _write_figures(content, directory, ".svg", lambda figure: standalone(figure).encode())


def write_png(content: Content, directory: Path) -> list[Path]:
    """One PNG file a figure, drawn by Matplotlib.

    Raises:
        UsageError: Matplotlib is missing, or the directory cannot be written.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ModuleNotFoundError as error:
        raise UsageError(
            f'--png needs the module {error.name}: pip install "gym-loop[report]"'
        ) from None

    def png(figure: Figure) -> bytes:
        canvas = Canvas(figsize=(5.6, 3.4), layout="constrained")
        axes = canvas.subplots()
        if isinstance(figure, Rows):
            _draw_rows(axes, figure)
        else:
            _draw_chart(axes, figure)
        axes.set_title(figure.title, fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        file = io.BytesIO()
        canvas.savefig(file, format="png", dpi=DPI)
        return file.getvalue()

    return _write_figures(content, directory, ".png", png)


def _write_figures(
    content: Content, directory: Path, suffix: str, draw: Callable[[Figure], bytes]
) -> list[Path]:
    """A file a figure, named by its key without what directories are made of."""
    figures = [*content.charts, *content.score_figures]
    names = [re.sub(r"[^\w.+=-]+", "-", figure.key).strip("-") + suffix for figure in figures]
    return _write(directory, dict(zip(names, map(draw, figures), strict=True)))


def _draw_chart(axes: Any, chart: Chart) -> None:
    named = set()
    for line in chart.lines:
        style = {"color": COLOURS[line.index % len(COLOURS)]}
        label = None if line.group in named else _plain(line.group)
        named.add(line.group)
        axes.fill_between(line.x, line.low, line.high, alpha=0.18, linewidth=0, **style)
        dashes = _MATPLOTLIB_DASHES[line.index % len(DASHES)]
        axes.plot(line.x, line.y, linestyle=dashes, linewidth=1.5, label=label, **style)
    axes.set_xlabel(chart.x_label)
    if len(named) > LEGEND_INSIDE:
        axes.figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    else:
        axes.legend(frameon=False, fontsize=8)


def _draw_rows(axes: Any, figure: Rows) -> None:
    names = [_plain(name) for name, _, _ in figure.rows]
    for place, (_, index, one) in enumerate(figure.rows):
        colour = COLOURS[index % len(COLOURS)]
        if math.isfinite(one.low):
            axes.plot([one.low, one.high], [place, place], color=colour, linewidth=2.5)
        axes.plot([one.value], [place], "o", color=colour)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _plain(text: str) -> str:
    """Text in which Matplotlib finds no formula, and that no legend leaves out."""
    return text.replace("$", r"\$").lstrip("_")


def write_csv(content: Content, directory: Path) -> list[Path]:
    """``runs.csv``, ``groups.csv`` and ``curves.csv``, in full precision.

    Raises:
        UsageError: the directory cannot be written.
    """
    tables = {
        "runs.csv": _run_rows(content),
        "groups.csv": _group_rows(content),
        "curves.csv": _curve_rows(content.charts),
    }
    return _write(directory, {name: _as_csv(rows) for name, rows in tables.items()})


def _run_rows(content: Content) -> Iterator[Sequence[Any]]:
    keys = differing_keys(content.runs)
    yield [
        "run", "group", "agent", "env", "seed", "status", "steps", "episodes", "seconds",
        "return_100", "evaluation", "best_evaluation", "evaluated", "evaluated_episodes", *keys,
    ]  # fmt: skip
    for group in content.groups:
        for run in group.runs:
            yield [
                run.run, group.name, run.agent, run.env, run.seed, run.status, run.steps,
                run.episodes, run.seconds, run.final_return, run.evaluation, run.best_evaluation,
                *run.evaluated,
                *(run.config.get(key) for key in keys),
            ]  # fmt: skip


def _group_rows(content: Content) -> Iterator[Sequence[Any]]:
    parts = ("mean", "iqm", "area")
    heads = [f"{part}{end}" for part in parts for end in ("", "_low", "_high")]
    threshold = ["reached", "median_steps", "mean_steps", "mean_steps_low", "mean_steps_high"]
    yield ["group", "env", "runs", "score", *heads, *threshold]
    for one in content.summaries:
        row = [one.group, one.env, one.runs[1], content.score, *one.mean, *one.iqm, *one.area]
        if (time := one.reached) is not None:
            row += [time.reached, time.median, *time.restricted_mean]
        yield row + [None] * (4 + len(heads) + len(threshold) - len(row))


def _curve_rows(charts: Iterable[Chart]) -> Iterator[Sequence[Any]]:
    yield ["figure", "group", "step", "mean", "low", "high", "runs"]
    for chart in charts:
        for line in chart.lines:
            columns = (line.x, line.y, line.low, line.high, line.count.astype(int))
            for values in zip(*(one.tolist() for one in columns), strict=True):
                yield [chart.key, line.group, *values]


def _as_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cell, row) for row in rows)
    return text.getvalue().encode()


def _cell(cell: Any) -> Any:
    """What is written of a value: nothing of None and of NaN."""
    if isinstance(cell, str):
        return as_cell(cell)
    return "" if cell is None or cell != cell else cell


def _write(directory: Path, files: dict[str, bytes]) -> list[Path]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (directory / name).write_bytes(content)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}") from None
    return [directory / name for name in files]
