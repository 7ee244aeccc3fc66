"""``gym-loop serve``: one command a protocol, whose options are those of its settings class."""

# No postponed annotations here: typer reads the signatures.
import inspect
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from gym_loop.schema.text import printable
from gym_loop.serve.serving import load, run, settings_class
from gym_loop.serve.settings import Option, options

app = typer.Typer(
    name="gym-loop serve",
    help="Serve environments to others over HTTP, WebSocket, ZeroMQ or NATS.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,  # that of gym-loop is all there is
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What a command says of itself: its first line, and its examples.
COMMANDS = {
    "http": (
        "Serve environments over HTTP, as gym-http-api does.",
        "gym-loop serve http --env 'CartPole-*'",
        "gym-loop serve http -c serve.yaml --port 8000",
    ),
    "websocket": (
        "Serve environments over WebSocket, as gymie does.",
        "gym-loop serve websocket --env 'CartPole-*'",
        "gym-loop serve websocket --import my_envs.py --process-step my_envs.py:process_step",
    ),
    "zmq": (
        "Stream an environment in real time over ZeroMQ, as gymz does.",
        "gym-loop serve zmq -c config.json",
        "gym-loop serve zmq --env MountainCar-v0 --speed max --no-render",
        "gym-loop serve zmq --native --env 'CartPole-*' --port 5000",
    ),
    "nats": (
        "Let an environment answer on a NATS server, as the system that gym-nats expects.",
        "gym-loop serve nats --env CartPole-v1 --url nats://127.0.0.1:4222",
        "gym-loop serve nats --env CartPole-v1 --embedded",
        "gym-loop serve nats --native --env 'CartPole-*'",
    ),
}
# Options whose name cannot be that of a field, or that have a short form.
SPELLINGS = {
    "imports": ("--import",),
    "allowed_origins": ("--allow-origin",),
    "json_logs": ("--json/--no-json",),
}
PLACEHOLDERS = {
    "env": "ENV",
    "imports": "MODULE|FILE",
    "make": "CLASS",
    "process_step": "CLASS",
    "allowed_origins": "ORIGIN",
    "allow_parameters": "[ID:]NAME",
    "client_keys": "FILE",
    "set": "SECTION.KEY=VALUE",
}
TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list[str]}


def _command(protocol: str) -> Callable[..., None]:
    def command(config: Path | None = None, **given: Any) -> None:
        settings = load(protocol, config, given)
        _log_to_stderr(as_json=getattr(settings, "json_logs", False))
        run(protocol, settings, ready=_say_where)

    first, *examples = COMMANDS[protocol]
    command.__doc__ = "\n".join([first, "", "\b", "Examples:", *(f"  {one}" for one in examples)])
    file = typer.Option("--config", "-c", help="File with these options.", show_default=False)
    parameters = [
        inspect.Parameter(
            "config", inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[Path | None, file],
        ),
        *(_parameter(option) for option in options(settings_class(protocol)).values()),
    ]  # fmt: skip
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameter(option: Option) -> inspect.Parameter:
    """The command-line option of a setting; None, "not given", leaves the file's value."""
    kind = next((TYPES[word] for word in option.words if word in TYPES), str)
    dashed = option.name.replace("_", "-")
    default_spelling = f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"
    described = typer.Option(
        *SPELLINGS.get(option.name, (default_spelling,)),
        help=f"{option.text[:1].upper()}{option.text[1:]}{_default(option)}".replace("``", ""),
        metavar=PLACEHOLDERS.get(option.name),
        show_default=False,
        # A secret on the command line can be read by everyone on the machine.
        envvar=f"GYM_LOOP_{option.name.upper()}" if option.name in ("token", "password") else None,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, described],
    )


def _default(option: Option) -> str:
    value = option.default
    if value is None or value == () or value is False:
        return ""
    shown = " ".join(value) if isinstance(value, tuple) else value
    return f" Default: {'yes' if value is True else shown}."


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """What happened, for a person; what a client sent gives the terminal no orders."""
        return printable(super().format(record))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object: when (seconds since the epoch), how grave, what."""
        line = {"ts": record.created, "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _log_to_stderr(as_json: bool) -> None:
    handler = logging.StreamHandler()
    plain = _Lines("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_JsonLines() if as_json else plain)
    log = logging.getLogger("gym_loop")
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _say_where(address: object) -> None:
    print(f"serving at {address}; Ctrl-C ends it", file=sys.stderr, flush=True)  # noqa: T201


for _protocol in COMMANDS:
    app.command(_protocol)(_command(_protocol))
