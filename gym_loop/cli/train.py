"""``gym-loop train``: one run, or one a seed."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gym_loop.cli.options import (
    NEWEST,
    Code,
    Config,
    Json,
    Quiet,
    Ray,
    Set,
    exit_after,
    print_json,
    say,
)
from gym_loop.errors import UsageError


def train(
    run_config: Config,
    set_: Set = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the run, in place of the file's.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Train one run a seed: 0..9 (both count), or 0,3,7, or 1..3,8. With --resume the"
            " newest run of each seed goes on, and seeds without one begin.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --seeds: so many runs at once, each in a process of its own; by default"
            " one a core.",
        ),
    ] = None,
    ray: Ray = None,
    name: Annotated[
        str | None, typer.Option(help="Id of the run; by default the file's name and a number.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="[RUN]",
            help="Continue a run from its newest checkpoint; the newest run of the file, "
            "if none is named.",
        ),
    ] = None,
    code: Code = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train the agent.

    \b
    Examples:
      gym-loop train -c run.yaml
      gym-loop train -c run.yaml --seed 7 --set loop.parameters.max_episodes=500
      gym-loop train -c run.yaml --seeds 0..9
      gym-loop train -c run.yaml --resume
    """
    if seeds is not None:
        for option, value in (("--seed", seed), ("--name", name)):
            if value is not None:
                raise UsageError(f"{option} {value} and --seeds exclude each other")
        if resume not in (None, NEWEST):
            raise UsageError(f"--resume {resume} is one run; with --seeds write --resume alone")
        many = {"jobs": jobs, "resume": resume is not None, "ray": ray}
        _train_many(run_config, set_ or (), seeds, code, quiet, json, **many)
        return
    for option, given in (("--jobs", jobs), ("--ray", ray)):
        if given is not None:
            raise UsageError(f"{option} {given} needs --seeds: one run is one process")
    from gym_loop.cli.output import not_saved, training_summary
    from gym_loop.training.experiment import train as run_training

    result = run_training(
        run_config,
        set_ or (),
        seed=seed,
        name=name,
        resume=True if resume == NEWEST else resume or False,
        code=code,
        quiet=quiet or json,
    )
    if json:
        print_json(result.as_dict())
    elif not quiet:
        say(training_summary(result, run_config), err=True)
    if text := not_saved(result):
        say(text, err=True)
    exit_after(result.signal, not result.complete)


def _train_many(
    run_config: Path,
    overrides: Sequence[str],
    seeds: str,
    code: str | None,
    quiet: bool,
    json: bool,
    **many: Any,
) -> None:
    from gym_loop.cli.output import not_saved, seeds_summary
    from gym_loop.config.run_file import load_config
    from gym_loop.training.many_seeds import parse_seeds, train_seeds
    from gym_loop.training.own_code import find_copies

    wanted = parse_seeds(seeds)
    config = load_config(run_config, overrides, code=find_copies(run_config, overrides, None, code))
    result = train_seeds(config, wanted, quiet=quiet or json, **many)
    if json:
        print_json(result.as_dict())
    elif not quiet:
        say(seeds_summary(result, run_config, seeds), err=True)
    for one in result.outcomes:
        if one.result and (text := not_saved(one.result)):
            say(text, err=True)
    outcomes = result.outcomes
    is_bad = any(one.error or (one.result and not one.result.complete) for one in outcomes)
    exit_after(result.signal, is_bad)
