"""``gym-loop create-default``: a run file with every parameter."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
import shlex
from pathlib import Path
from typing import Annotated

import typer

from gym_loop.cli.options import say


def _presets(wanted: bool) -> None:
    if wanted:
        from gym_loop.config.presets import list_presets

        say("\n".join(list_presets()))
        raise typer.Exit


def create_default(
    run_config: Annotated[Path, typer.Option("--run-config", "-c", help="The file to write.")],
    agent: Annotated[
        str | None,
        typer.Option(
            "--agent", "-a", metavar="CLASS", help="Class string of the agent; else RandomAgent."
        ),
    ] = None,
    loop: Annotated[
        str | None,
        typer.Option(
            "--loop", "-l", metavar="CLASS", help="Class string of the loop; else DefaultLoop."
        ),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option(
            "--env", "-e", metavar="NAME", help="Id of the environment; else Pendulum-v1."
        ),
    ] = None,
    import_: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            "-i",
            metavar="MODULE",
            help="Module or .py file that registers the environment. May be repeated.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Tuned values of agent, loop and environment, such as ppo/CartPole-v1.",
        ),
    ] = None,
    zoo: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of rl-baselines3-zoo, such as ppo.yml, whose section for --env to take.",
        ),
    ] = None,
    list_presets: Annotated[
        bool,
        typer.Option(
            "--list-presets", callback=_presets, is_eager=True, help="Print their names and exit."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Overwrite the file if it exists.")
    ] = False,
) -> None:
    """Write a run file with every parameter, its value and what it means.

    \b
    Examples:
      gym-loop create-default -c run.yaml
      gym-loop create-default -c run.yaml --preset ppo/CartPole-v1
      gym-loop create-default -c mine.yaml -a "~/my_agent.py:MyAgent" -e CartPole-v1
      gym-loop create-default -c own.yaml -e MyEnv-v0 --import my_envs.py
      gym-loop create-default -c run.yaml --zoo ppo.yml -e CartPole-v1
    """
    from gym_loop.config.json_schema import SCHEMA_LINE, write_schema
    from gym_loop.config.presets import preset_run_file
    from gym_loop.config.run_file import default_config
    from gym_loop.schema.files import write_new

    if zoo is not None:
        from gym_loop.config.zoo import zoo_run_file

        clash: dict[str, object] = {"--loop": loop, "--preset": preset}
        text, left_out = zoo_run_file(zoo, env, agent, import_ or (), clash)
        if left_out:
            say("\n".join(f"not carried over: {note}" for note in left_out), err=True)
    elif preset is None:
        text = default_config(agent, loop, env, imports=import_ or ()).to_yaml(comments=True)
    else:
        others = {"--agent": agent, "--loop": loop, "--env": env, "--import": import_}
        text = preset_run_file(preset, others)
    write_new({run_config: SCHEMA_LINE + text}, force=force)
    write_schema(run_config.parent)
    say(f"wrote {run_config}; next: gym-loop train -c {shlex.quote(str(run_config))}")
