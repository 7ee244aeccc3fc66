"""``gym-loop schema``: what a file may say, for editors."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
import json
from typing import Annotated

import typer

from gym_loop.cli.options import say


def schema(
    file: Annotated[
        str, typer.Argument(metavar="[run|sweep|serve]", help="Which kind of file.")
    ] = "run",
) -> None:
    """Print a JSON Schema, by which an editor completes and checks run files.

    \b
    Example:
      gym-loop schema > run.schema.json
    """
    from gym_loop.config.json_schema import model_schema, run_schema
    from gym_loop.errors import UsageError
    from gym_loop.schema.suggestions import did_you_mean

    if file == "run":
        found = run_schema()
    elif file == "sweep":
        from gym_loop.sweeps.sweep_file import SweepFile

        found = model_schema(SweepFile, "A sweep file of gym-loop")
    elif file == "serve":
        from gym_loop.serve.settings import ServeSettings

        found = model_schema(ServeSettings, "A file of options of gym-loop serve")
    else:
        kinds = ("run", "sweep", "serve")
        raise UsageError(f"{file!r} is none of {', '.join(kinds)}{did_you_mean(file, kinds)}")
    say(json.dumps(found, indent=1))
