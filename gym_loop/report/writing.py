"""The commands' work: runs in, files out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from gym_loop.errors import UsageError
from gym_loop.report.comparing import Comparison, compare_runs
from gym_loop.report.content import make_content
from gym_loop.report.page import section, write_page
from gym_loop.report.paper import write_csv, write_png, write_svg
from gym_loop.report.selection import LOGDIR, select_runs
from gym_loop.schema.files import expanded, replace_file

_OURS = '<meta name="generator" content="gym-loop'
_HEAD = 2_000  # characters in which a page says that it is ours


def report(
    runs: Sequence[str] = (),
    *,
    output: Path = Path("report.html"),
    by: Sequence[str] = (),
    threshold: float | None = None,
    logdir: Path = LOGDIR,
    png: Path | None = None,
    svg: Path | None = None,
    csv: Path | None = None,
    force: bool = False,
) -> list[Path]:
    """Write a report of finished, or still training, runs.

    Args:
        runs: ids, stems, run files, directories or patterns; by default all below ``logdir``.
        output: the page.
        by: what tells groups apart; see `gym_loop.report.grouping.group_runs`.
        threshold: a score to measure the steps to.
        logdir: where ids and stems are looked for.
        png: a directory for one PNG file a figure.
        svg: a directory for one SVG file a figure.
        csv: a directory for tables.
        force: overwrite a page that is no report.

    Returns:
        Every file that was written.

    Raises:
        RunError: there are no such runs, or they have no metrics.
        UsageError: ``by`` is unknown, or something cannot be written.
    """
    output = expanded(output)
    _check_output(output, force)
    content = make_content(select_runs(runs or [str(logdir)], logdir), by, threshold)
    written = [_write(output, write_page(content, output, "gym-loop report"))]
    for directory, writer in ((png, write_png), (svg, write_svg), (csv, write_csv)):
        if directory is not None:
            written += writer(content, expanded(directory))
    return written


def compare(first: str, second: str, logdir: Path = LOGDIR) -> Comparison:
    """Compare two groups of runs.

    Args:
        first: id, stem, run file, directory or pattern, or several with commas between them.
        second: likewise; the one that may be better.
        logdir: where ids and stems are looked for.

    Raises:
        RunError: there are no such runs, or they cannot be compared.
        UsageError: a run is on both sides.
    """
    sides = [select_runs(one.split(","), logdir) for one in (first, second)]
    names = [one if len(one) <= 40 else f"{one[:37]}..." for one in (first, second)]
    return compare_runs(sides[0], sides[1], (names[0], names[1]))


def comparison_page(found: Comparison, output: Path, force: bool = False) -> Path:
    """Write the page of a comparison.

    Raises:
        UsageError: it cannot be written.
    """
    output = expanded(output)
    _check_output(output, force)
    verdict = section("Verdict", f"<p>{escape(found.verdict)}</p>") + "\n"
    if found.code:
        diffs = escape("\n\n".join(found.code.values()))
        verdict += section("Code", f"<pre>{diffs}</pre>") + "\n"
    title = " and ".join(found.names)
    return _write(output, write_page(found.content, output, title, verdict))


def _check_output(path: Path, force: bool) -> None:
    """Refuse to overwrite what is no report of ours."""
    if path.is_dir():
        raise UsageError(
            f"{path} is a directory; name the page with -o, such as {path}/report.html"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no directory {path.parent}")
    if force or not path.exists():
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if _OURS not in head:
        raise UsageError(
            f"{path} exists and is no report; choose another -o, or overwrite it with --force"
        )


def _write(path: Path, text: str) -> Path:
    try:
        replace_file(path, text)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return path
