"""``gym-loop watch``: a run's agent at play in a browser."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
from typing import Annotated

import typer

from gym_loop.cli.options import Code, Config, Set, say


def watch(
    run_config: Config,
    set_: Set = None,
    run: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The run to watch; by default the newest of the file."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but a loopback address demands a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 6007,
    token: Annotated[
        str | None, typer.Option(help="Secret that the page asks for.", envvar="GYM_LOOP_TOKEN")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Steps a second; by default the environment's own rate, at most 60."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Leads to the seeds of the episodes.")] = None,
    code: Code = None,
) -> None:
    """Show the agent of a run at play in a browser, while the run is trained or after it.

    \b
    Examples:
      gym-loop watch -c run.yaml
      gym-loop watch -c run.yaml --run run-3 --port 8000 --fps 10
    """
    from gym_loop.watch.server import watch as show

    show(
        run_config,
        set_ or (),
        run=run,
        host=host,
        port=port,
        token=token,
        fps=fps,
        seed=seed,
        code=code,
        ready=_say_where,
    )


def _say_where(run: str, address: str) -> None:
    import getpass
    import socket
    from urllib.parse import urlsplit

    from gym_loop.envs.remote.addresses import is_loopback

    parts = urlsplit(address)
    say(f"{run} is at play at {address}; Ctrl-C ends it", err=True)
    if is_loopback(parts.hostname):
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # this user has no name here
            user = "USER"
        tunnel = f"ssh -L {parts.port}:127.0.0.1:{parts.port} {user}@{socket.gethostname()}"
        say(f"from another machine: {tunnel}, then open {address}", err=True)
