"""``gym-loop report`` and ``gym-loop compare``: what runs came to, as figures and in words."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
import sys
from pathlib import Path
from typing import Annotated

import typer

from gym_loop.cli.options import Json, print_json, say

Logdir = Annotated[
    Path, typer.Option(metavar="DIR", help="Where ids and stems of runs are looked for.")
]
Force = Annotated[
    bool, typer.Option("--force", "-f", help="Overwrite a page that is no report of gym-loop.")
]


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Id of a run, stem of its run file (run for run-1, run-2, ...), run file, "
            "sweep, directory of runs, or a pattern of these; by default all runs.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")
    ] = Path("report.html"),
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="agent|env|file|KEY",
            help="What tells groups apart; KEY is one of the run file, such as learning_rate. May "
            "be repeated. By default whatever differs, but the seeds.",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Measure the steps to this score as well.")
    ] = None,
    logdir: Logdir = Path("logs"),
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each figure as a PNG file.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each figure as an SVG file.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the numbers as CSV files.")
    ] = None,
    force: Force = False,
) -> None:
    """Write one page about runs: curves with intervals over seeds, tables, videos.

    \b
    Examples:
      gym-loop report
      gym-loop report ppo dqn -o cartpole.html --by agent
      gym-loop report "sweep-*" --by learning_rate --threshold 475 --csv numbers
    """
    from gym_loop.report.writing import report as write_report

    page, *others = write_report(
        runs or (),
        output=output,
        by=by or (),
        threshold=threshold,
        logdir=logdir,
        png=png,
        svg=svg,
        csv=csv,
        force=force,
    )
    places = dict.fromkeys(str(path.parent) for path in others)
    say(f"wrote {page}" + "".join(f", and {place}" for place in places))


def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="RUN_A",
            help="Id of a run, stem of its run file, run file, sweep, directory of runs, or a "
            "pattern; several with commas between them.",
        ),
    ],
    second: Annotated[
        str, typer.Argument(metavar="RUN_B", help="Likewise: what may be better than RUN_A.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write a page as well.")
    ] = None,
    logdir: Logdir = Path("logs"),
    json: Json = False,
    force: Force = False,
) -> None:
    """Say what differs between two groups of runs, and which is better, how surely.

    \b
    Examples:
      gym-loop compare ppo dqn
      gym-loop compare run-1,run-2 run-3,run-4 -o compared.html
    """
    from gym_loop.report.comparing import comparison_text
    from gym_loop.report.writing import compare as compare_groups
    from gym_loop.report.writing import comparison_page
    from gym_loop.runs.console import shows_sparklines

    found = compare_groups(first, second, logdir)
    if json:
        print_json(found.as_dict())
    else:
        say(comparison_text(found, plots=shows_sparklines(sys.stdout)))
    if output is not None:
        page = comparison_page(found, output, force)
        say(f"wrote {page}", err=json)
