"""Options that several commands of ``gym-loop`` share."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
from pathlib import Path
from typing import Annotated, Any

import typer

from gym_loop.schema.printable import printable

NEWEST = "the newest run of the file"  # what --resume without a value stands for

Config = Annotated[Path, typer.Option("--run-config", "-c", help="The run file.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one value, in YAML syntax: --set agent.parameters.learning_rate=1e-3. "
        "May be repeated.",
    ),
]
Code = Annotated[
    str | None,
    typer.Option(
        "--code",
        metavar="run|files",
        help="run: the copies of your files that the run has kept. files: the files as they are "
        "now. By default run where the file is a run's own run.yaml, else files.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Train on a Ray cluster, such as 192.168.0.1:6379 or auto; local starts Ray on this "
        "machine. By default that of RAY_ADDRESS, else processes of this machine.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show warnings only.")]


def exit_after(signal: int | None, failed: bool) -> None:
    """End the command with the status of a signal that stopped it, or with 1 if it failed."""
    if signal is not None:
        raise typer.Exit(128 + signal)
    if failed:
        raise typer.Exit(1)


def say(text: str, err: bool = False) -> None:
    """Print what a person reads; what it quotes from files gives the terminal no orders."""
    typer.echo(printable(text), err=err)


def print_json(value: dict[str, Any]) -> None:
    """Print a command's one JSON object."""
    from gym_loop.runs.results import to_json

    typer.echo(to_json(value))
