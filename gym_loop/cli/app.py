"""The ``gym-loop`` command: a few lines a command, and heavy imports inside them."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from gym_loop import __version__
from gym_loop.cli.create_default import create_default
from gym_loop.cli.new import new
from gym_loop.cli.options import NEWEST, Code, Config, Json, Set, exit_after, print_json, say
from gym_loop.cli.report import compare, report
from gym_loop.cli.schema import schema
from gym_loop.cli.sweep import sweep
from gym_loop.cli.train import train
from gym_loop.cli.watch import watch
from gym_loop.errors import GymLoopError
from gym_loop.schema.printable import short_warning

app = typer.Typer(
    name="gym-loop",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "One YAML file runs any agent on any Gymnasium environment.\n\n"
        "\b\n"
        "Examples:\n"
        "  gym-loop create-default --run-config run.yaml --preset ppo/CartPole-v1\n"
        "  gym-loop train -c run.yaml\n"
        "  gym-loop evaluate -c run.yaml --episodes 100\n"
        "  gym-loop new agent my_agent.py"
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"gym-loop {__version__}")
        raise typer.Exit


@app.callback()
def gym_loop(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Hold the options that belong to no single command."""


app.command()(create_default)
app.command()(train)


@app.command()
def evaluate(
    run_config: Config,
    set_: Set = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The run to evaluate; by default the newest of the file."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option(metavar="latest|best|PATH", help="Which state of the agent.")
    ] = "latest",
    episodes: Annotated[
        int | None, typer.Option(help="Episodes, in place of eval_episodes.")
    ] = None,
    record: Annotated[
        bool | None,
        typer.Option(
            "--record/--no-record",
            help="Record every episode (in a VectorLoop those of its first copy), or none.",
        ),
    ] = None,
    render: Annotated[
        bool, typer.Option("--render", help="Show the episodes in a window.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Leads to the seeds of the episodes.")] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="The agent as it is made, and no run's.")
    ] = False,
    code: Code = None,
    json: Json = False,
) -> None:
    """Evaluate the agent: no learning, no exploration.

    \b
    Examples:
      gym-loop evaluate -c run.yaml
      gym-loop evaluate -c run.yaml --run run-3 --checkpoint best --episodes 100 --record
    """
    from gym_loop.cli.output import evaluation_table
    from gym_loop.training.experiment import evaluate as run_evaluation

    result = run_evaluation(
        run_config,
        set_ or (),
        run=run,
        checkpoint=checkpoint,
        episodes=episodes,
        record=record,
        render=render or None,
        seed=seed,
        untrained=untrained,
        code=code,
        quiet=json,
    )
    if json:
        print_json(result.as_dict())
    elif result.episodes:
        say(evaluation_table(result))
    exit_after(result.signal, not result.complete)


app.command()(watch)
app.command()(sweep)


@app.command()
def check(run_config: Config, set_: Set = None) -> None:
    """Find everything that can be wrong before training, all at once.

    \b
    Example:
      gym-loop check -c run.yaml
    """
    from gym_loop.training.check import check as find

    findings = find(run_config, set_ or ())
    for finding in findings:
        say(str(finding))
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


app.command()(new)


@app.command()
def runs(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The logdir of your run files.")
    ] = Path("logs"),
    plot: Annotated[
        bool,
        typer.Option(
            "--plot", help="Show each run's returns as a sparkline, where the terminal can."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """List the runs on disk: what they were, how they stand, what they reached.

    \b
    Examples:
      gym-loop runs logs
      gym-loop runs --plot
    """
    from gym_loop.cli.output import runs_table
    from gym_loop.runs.console import shows_sparklines
    from gym_loop.runs.listing import list_runs, return_curve

    found = list_runs(directory)
    curves = []
    if plot and shows_sparklines(sys.stdout):
        curves = [return_curve(directory / one.run, 24) for one in found]
    if json:
        print_json({"runs": [vars(one) for one in found]})
    else:
        say(runs_table(found, curves) if found else f"there are no runs in {directory}")


app.command()(schema)
app.command()(report)
app.command()(compare)


@app.command()
def verify_resume(
    run_config: Config,
    set_: Set = None,
    steps: Annotated[int, typer.Option(min=4, help="Length of the training, in steps.")] = 2_000,
    code: Code = None,
) -> None:
    """Prove that a run resumes bit for bit: train with and without a kill, and compare.

    \b
    Example:
      gym-loop verify-resume -c run.yaml --steps 5000
    """
    from gym_loop.cli.output import verification_report
    from gym_loop.training.verify import verify_resume as verify

    result = verify(run_config, set_ or (), steps=steps, code=code)
    say(verification_report(result))
    if not result.identical:
        raise typer.Exit(1)


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def serve(context: typer.Context) -> None:
    """Serve environments to others over HTTP, WebSocket, ZeroMQ or NATS.

    \b
    Examples:
      gym-loop serve --env "CartPole-*"
      gym-loop serve zmq --help
    """
    from gym_loop.cli.serve import app as serve_app

    serve_app(context.args, prog_name="gym-loop serve")


def _with_resume_value(arguments: list[str]) -> list[str]:
    """Let ``--resume`` stand alone: give it a value where the next argument is none."""
    complete = []
    for index, argument in enumerate(arguments):
        complete.append(argument)
        following = arguments[index + 1 : index + 2]
        if argument == "--resume" and (not following or following[0].startswith("-")):
            complete[-1] = f"--resume={NEWEST}"
    return complete


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what gym-loop refuses is one clear line and an exit status."""
    warnings.formatwarning = short_warning
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) == "strict":  # a name may hold what it can't write
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app(_with_resume_value(sys.argv[1:] if arguments is None else arguments))
    except GymLoopError as error:
        say(f"gym-loop: {error}", err=True)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        _drop_output()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the agent's, the environment's or our own failure
        sys.exit(_failed(error))


def _failed(error: Exception) -> int:
    """Say what happened: in one line where that is enough, else with the traceback."""
    from gym_loop.cli.output import output_problem, place_problem, their_traceback
    from gym_loop.schema.old_code import explained_call

    if problem := place_problem(error):
        say(f"gym-loop: {problem}", err=True)
        return 2
    if problem := output_problem(error):
        _drop_output()
    problem = problem or explained_call(error)
    say(f"gym-loop: {problem}" if problem else their_traceback(error), err=True)
    return 1


def _drop_output() -> None:
    """Let nothing be written any more at the exit, where it would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
