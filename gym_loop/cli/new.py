"""``gym-loop new``: short commented templates, trained as they are."""

# No postponed annotations here: typer would take 3 ms to evaluate them again.
import re
import shlex
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from gym_loop.cli.options import say

_TEMPLATES = Path(__file__).with_name("templates")
KINDS = ("agent", "loop", "env")


def new(
    kind: Annotated[str, typer.Argument(metavar="agent|loop|env", help="What to begin.")],
    path: Annotated[Path, typer.Argument(metavar="PATH.py", help="The file to write.")],
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Overwrite the files if they exist.")
    ] = False,
) -> None:
    """Write a short commented template that trains as it is, and its run file beside it.

    \b
    Example:
      gym-loop new agent my_agent.py && gym-loop train -c my_agent.yaml
    """
    from gym_loop.config.json_schema import SCHEMA_LINE, write_schema
    from gym_loop.schema.files import write_new

    files = scaffold(kind, path)
    *_, run_file = files
    files[run_file] = SCHEMA_LINE + files[run_file]
    write_new(files, force=force)
    write_schema(run_file.parent)
    names = " and ".join(str(file) for file in files)
    say(f"wrote {names}; next: gym-loop train -c {shlex.quote(str(run_file))}")


def scaffold(kind: str, path: Path) -> dict[Path, str]:
    """The files of a template: the class, and a run file beside it that uses it.

    Args:
        kind: ``agent``, ``loop`` or ``env``.
        path: the ``.py`` file; its name in CamelCase becomes the class's name.

    Raises:
        UsageError: the kind is unknown, or the path is no ``.py`` file.
    """
    from gym_loop.errors import UsageError
    from gym_loop.schema.suggestions import did_you_mean

    if kind not in KINDS:
        raise UsageError(f"{kind!r} is none of {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"\W|_", path.stem))
    if path.suffix != ".py" or not name.isidentifier():
        raise UsageError(f"{path}: name a Python file, such as my_{kind}.py")
    sources = {path: f"{kind}.py.txt", path.with_suffix(".yaml"): f"{kind}.yaml"}
    return {
        file: Template((_TEMPLATES / source).read_text("utf-8")).substitute(
            name=name, file=path.name
        )
        for file, source in sources.items()
    }
