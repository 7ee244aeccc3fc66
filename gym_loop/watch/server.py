"""`watch` blocks until it is told to end, and shows a run's agent at play meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gym_loop.checkpoints.seeding import check_seed, draw_seed
from gym_loop.config.run_file import RunConfig, load_config
from gym_loop.errors import UsageError
from gym_loop.runs.console import Console
from gym_loop.runs.directory import RunDirectory
from gym_loop.serve.server import extra_packages, run_application
from gym_loop.serve.settings import ServeSettings, demand_token, load_settings
from gym_loop.training.own_code import find_copies, tell_code
from gym_loop.training.resume import config_of_run, find_run, refuse_without_checkpoints
from gym_loop.watch.player import MOST_FPS, Player

PORT = 6007
EPISODES = "loop.parameters.eval_episodes"


def watch(
    source: str | Path | Mapping[str, Any] | RunConfig,
    overrides: Iterable[str] | Mapping[str, Any] = (),
    *,
    run: str | None = None,
    host: str = "127.0.0.1",
    port: int = PORT,
    token: str | None = None,
    fps: float | None = None,
    seed: int | None = None,
    code: str | None = None,
    ready: Callable[[str, str], None] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Show the agent of a run playing live in a page, until Ctrl-C, SIGTERM or ``stop``.

    Each episode is played by the newest checkpoint. The run is only read: it may be training.

    Args:
        source: path of a run file, its content as nested mappings, or a loaded config.
        overrides: ``dotted.key=value`` texts, or a mapping of dotted keys.
        run: id of the run; by default the newest of this file.
        host: address to listen on; any but a loopback address demands a token.
        port: TCP port; 0 takes a free one.
        token: secret that the page asks for.
        fps: steps a second; by default the environment's own rate, at most 60.
        seed: leads to the seeds of the episodes; by default the run's.
        code: as in `gym_loop.train`; the run is the one that is watched.
        ready: called with the run's id and the page's address, once it is there.
        stop: set it from another thread to end it.

    Raises:
        GymLoopError: the config, the run, its checkpoint or the address cannot be used, or the
            packages for serving are not installed.
        Exception: whatever the agent or the environment raised.
    """
    given = {"host": host, "port": port, "token": token}
    settings = load_settings(ServeSettings, None, given)
    demand_token(settings)
    if fps is not None and not 0 < fps <= MOST_FPS:
        raise UsageError(f"--fps {fps:g}: it must be above 0 and at most {MOST_FPS:g} a second")
    with extra_packages():
        from gym_loop.watch.app import watch_application
    console = Console(quiet=True)
    config = load_config(source, overrides, code=find_copies(source, overrides, run, code))
    config, directory = _watched(config, run, seed, console)
    with config.code_in_use():
        tell_code(config, directory, console)
        player = Player(config, directory, console, fps)
        try:
            player.start()
            run_application(
                lambda end: watch_application(settings, player, end),
                settings,
                ready=lambda at: ready(directory.run_id, f"http://{at}") if ready else None,
                stop=stop,
            )
        finally:
            player.close()
    if player.error is not None:
        raise player.error


def _watched(
    config: RunConfig, run: str | None, seed: int | None, console: Console
) -> tuple[RunConfig, RunDirectory]:
    """The config that is played, with a seed, and the run that it is read from."""
    if "eval_episodes" in config.loop.parameters:
        config = load_config(config, {EPISODES: 1})  # so that a VectorLoop makes one copy
    directory = find_run(config, run)
    refuse_without_checkpoints(directory)
    config = config_of_run(config, directory, console.warning)
    if seed is not None:
        config = config.with_seed(check_seed(seed, "--seed"))
    return config if config.seed is not None else config.with_seed(draw_seed()), directory
