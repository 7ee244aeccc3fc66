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

from gym_loop.errors import UsageError
from gym_loop.schema.parameters import ParameterDoc, defaults_of, documentation
from gym_loop.schema.printable import printable
from gym_loop.serve.serving import load, run, settings_class

app = typer.Typer(
    name="gym-loop serve",
    help="Serve environments to others. Without the name of a protocol: gym-http-api under /v1,"
    " gymie at /gym, the native protocol at /native and a page at /, on one port.",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,  # that of gym-loop is all there is
    invoke_without_command=True,
    subcommand_metavar="[http|websocket|zmq|nats]",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What a command says of itself: its first line, and its examples.
COMMANDS = {
    "http": (
        "Serve environments, as gym-loop serve does alone: over HTTP, WebSocket and natively.",
        "gym-loop serve http --env 'CartPole-*'",
        "gym-loop serve http -c serve.yaml --port 8000",
    ),
    "websocket": (
        "The same server; it says the address that gymie's clients want.",
        "gym-loop serve websocket --env 'CartPole-*'",
        "gym-loop serve websocket --import my_envs.py --process-step my_envs.py:process_step",
    ),
    "zmq": (
        "Stream an environment in real time over ZeroMQ, as gymz does.",
        "gym-loop serve zmq -c config.json",
        "gym-loop serve zmq --env MountainCar-v0 --speed max --no-render",
    ),
    "nats": (
        "Let an environment answer on a NATS server, as the system that gym-nats expects.",
        "gym-loop serve nats --env CartPole-v1 --url nats://127.0.0.1:4222",
        "gym-loop serve nats --env CartPole-v1 --embedded",
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
    "set": "SECTION.KEY=VALUE",
}
TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list[str]}


def _command(protocol: str) -> Callable[..., None]:
    def command(config: Path | None = None, **given: Any) -> None:
        _serve(protocol, config, given)

    first, *examples = COMMANDS[protocol]
    command.__doc__ = "\n".join([first, "", "\b", "Examples:", *(f"  {one}" for one in examples)])
    return _with_options(command, protocol)


def _alone() -> Callable[..., None]:
    """What ``gym-loop serve`` does without the name of a protocol."""

    def command(context: typer.Context, config: Path | None = None, **given: Any) -> None:
        if context.invoked_subcommand is None:
            _serve("http", config, given)
            return
        for name in ("config", *given):
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                option, protocol = f"--{name.replace('_', '-')}", context.invoked_subcommand
                raise UsageError(f"{option} belongs behind {protocol}: serve {protocol} {option}")

    return _with_options(command, "http", typer.Context)


def _serve(protocol: str, config: Path | None, given: dict[str, Any]) -> None:
    settings = load(protocol, config, given)
    _log_to_stderr(as_json=getattr(settings, "json_logs", False))
    run(protocol, settings, ready=_say_where)


def _with_options(
    command: Callable[..., None], protocol: str, context: Any = None
) -> Callable[..., None]:
    """Give a command the options of a protocol's settings."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    first = inspect.Parameter.POSITIONAL_OR_KEYWORD
    file = typer.Option("--config", "-c", help="File with these options.", show_default=False)
    cls = settings_class(protocol)
    defaults = defaults_of(cls)
    parameters = [
        *([inspect.Parameter("context", first, annotation=context)] if context else []),
        inspect.Parameter("config", keyword, default=None, annotation=Annotated[Path | None, file]),
        *(_parameter(doc, defaults[name]) for name, doc in documentation(cls).items()),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameter(doc: ParameterDoc, default: Any) -> inspect.Parameter:
    """The command-line option of a setting; None, "not given", leaves the file's value."""
    kind = next((TYPES[word] for word in doc.types.split(" or ") if word in TYPES), str)
    dashed = doc.name.replace("_", "-")
    default_spelling = f"--{dashed}/--no-{dashed}" if kind is bool else f"--{dashed}"
    described = typer.Option(
        *SPELLINGS.get(doc.name, (default_spelling,)),
        help=f"{doc.text}{_shown(default)}".replace("``", ""),
        metavar=PLACEHOLDERS.get(doc.name),
        show_default=False,
        # A secret on the command line can be read by everyone on the machine.
        envvar=f"GYM_LOOP_{doc.name.upper()}" if doc.name in ("token", "password") else None,
    )
    return inspect.Parameter(
        doc.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, described],
    )


def _shown(default: Any) -> str:
    if default is None or default == () or default is False:
        return ""
    shown = " ".join(default) if isinstance(default, tuple) else default
    return f" Default: {'yes' if default is True else shown}."


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


app.callback()(_alone())
for _protocol in COMMANDS:
    app.command(_protocol)(_command(_protocol))
