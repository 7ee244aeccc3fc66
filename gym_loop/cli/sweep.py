"""``gym-loop sweep``: many runs of one file with other values."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
from pathlib import Path
from typing import Annotated

import typer

from gym_loop.cli.options import NEWEST, Config, Json, Quiet, Ray, Set, exit_after, print_json, say


def sweep(
    run_config: Config,
    sweep_file: Annotated[
        Path,
        typer.Option(
            "--sweep-file",
            "-s",
            metavar="FILE",
            help="The sweep file: what is varied.",
            show_default=False,
        ),
    ],
    set_: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the trials and begin none.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            help="Id of the sweep; by default the sweep file's name and a number.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="[SWEEP]",
            help="Continue a sweep: finished trials stand, cut-off ones go on from their"
            " checkpoints. The newest sweep of the two files, if none is named.",
            show_default=False,
        ),
    ] = None,
    ray: Ray = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train many runs with other values, and rank them.

    \b
    Examples:
      gym-loop sweep -c run.yaml -s sweep.yaml --dry-run
      gym-loop sweep -c run.yaml -s sweep.yaml
      gym-loop sweep -c run.yaml -s sweep.yaml --resume
    """
    from gym_loop.sweeps import sweeping
    from gym_loop.sweeps.result import sweep_summary

    if dry_run:
        say(sweeping.preview(run_config, sweep_file, set_ or ()))
        return
    result = sweeping.sweep(
        run_config,
        sweep_file,
        set_ or (),
        name=name,
        resume=True if resume == NEWEST else resume or False,
        address=ray,
        quiet=quiet or json,
    )
    if json:
        print_json(result.as_dict())
    elif not quiet:
        say(sweep_summary(result, run_config, sweep_file), err=True)
    exit_after(result.signal, any(one.status == "failed" for one in result.records))
