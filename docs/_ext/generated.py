"""Reference pages written from the code whenever the documentation is built.

The run file's page comes from the default config, ``get_default_parameters()`` and its
docstrings; the commands' page from the command tree. Neither can say what the code does not.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import typer.main

from gym_loop.agents import BaseAgent
from gym_loop.cli import app as cli
from gym_loop.cli import serve as cli_serve
from gym_loop.config import run_file as config
from gym_loop.config import sections
from gym_loop.config.json_schema import classes_in
from gym_loop.loops import BaseLoop
from gym_loop.runs.loggers.base import BaseLogger
from gym_loop.schema.parameters import documentation

# Packages that hold classes for a run file: heading, base class, what is said of them.
FAMILIES: dict[str, tuple[str, type, str]] = {
    "gym_loop.agents": ("Agents", BaseAgent, "Named by ``agent.class``."),
    "gym_loop.loops": ("Loops", BaseLoop, "Named by ``loop.class``."),
    "gym_loop.runs.loggers": (
        "Loggers",
        BaseLogger,
        "``CsvLogger`` and ``TensorBoardLogger`` are always on; the others are named in the loop "
        "parameter ``loggers``. See :doc:`/logging`.",
    ),
}


# -- configuration -------------------------------------------------------------------------


def classes() -> dict[str, list[Any]]:
    """Every class that a run file can name, by package: ``{package: [class, ...]}``."""
    return {package: classes_in(package, base) for package, (_, base, _) in FAMILIES.items()}


def run_file_keys() -> dict[str, Any]:
    """Every key of the run file with its default, in the file's order; parameters are classes'."""
    keys: dict[str, Any] = {}
    for section, content in config.default_config().as_dict().items():
        if not isinstance(content, dict):
            keys[section] = content
            continue
        for key, value in content.items():
            keys[f"{section}.{key}"] = {} if key == "parameters" else value
    return keys


def run_file_docs() -> dict[str, Any]:
    """What is said of each key of the run file."""
    docs: dict[str, Any] = {}
    for section, field in sections.RunFile.model_fields.items():
        if section == "seed":
            docs[section] = documentation(sections.RunFile)[section]
            continue
        docs |= {f"{section}.{key}": doc for key, doc in documentation(field.annotation).items()}
    return docs


def configuration_page() -> str:
    """The reference of the run file, as RST."""
    lines = [
        *_title("The run file", "="),
        "A run file holds what differs from the defaults; every key may be left out.",
        "``gym-loop create-default`` writes all of them. An unknown key, or a value of another",
        "type, is an error that names the line: see :ref:`run-file-errors`.",
        "",
        *_title("Keys", "-"),
    ]
    for key, default in run_file_keys().items():
        doc = run_file_docs()[key]
        lines += _entry(key, doc.types, default, plain(doc.text), anchor=f"key-{key}")
    for package, found in classes().items():
        heading, _, text = FAMILIES[package]
        lines += [*_title(heading, "-"), text, ""]
        for cls in found:
            lines += _class_section(cls)
    return "\n".join(lines)


def _class_section(cls: Any) -> list[str]:
    name = f"{cls.__module__}:{cls.__name__}"
    summary = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    lines = [f".. _class-{cls.__name__}:", "", *_title(cls.__name__, "~")]
    lines += [f"``{name}``", "", re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", summary), ""]
    defaults = cls.get_default_parameters()
    docs = documentation(cls)
    for parameter in sorted(defaults):
        doc = docs[parameter]
        anchor = f"parameter-{cls.__name__}-{parameter}"
        lines += _entry(parameter, doc.types, defaults[parameter], plain(doc.text), anchor)
    return lines if defaults else [*lines, "It has no parameters.", ""]


def _entry(name: str, kind: str, default: Any, text: str, anchor: str) -> list[str]:
    return [
        f".. _{anchor}:",
        "",
        f".. describe:: {name}",
        "",
        *([f"   :Type: {plain(kind)}"] if kind else []),
        f"   :Default: ``{json.dumps(default)}``",
        "",
        f"   {text}",
        "",
    ]


# -- commands ------------------------------------------------------------------------------


def command_tree() -> dict[str, Any]:
    """Every command by its full name: ``gym-loop``, ``gym-loop train``, ..."""
    found = {}

    def walk(name: str, command: Any) -> None:
        found[name] = command
        for child, sub in getattr(command, "commands", {}).items():
            walk(f"{name} {child}", sub)

    walk("gym-loop", typer.main.get_command(cli.app))
    # One command for the first look, to start fast; the real ones are loaded when it runs.
    walk("gym-loop serve", typer.main.get_command(cli_serve.app))
    return found


def commands_page() -> str:
    """The reference of the command line, as RST."""
    lines = [
        *_title("Commands", "="),
        "``python -m gym_loop`` is the same as ``gym-loop``. Every command takes ``--help``",
        "(``-h``). What is refused is one line on standard error and exit status 2; see",
        ":doc:`/reference/exceptions`.",
        "",
    ]
    for name, command in command_tree().items():
        lines += [f".. _{name.replace(' ', '-')}:", "", *_title(name, "-")]
        context = command.make_context(name, [], resilient_parsing=True)
        lines += [f".. program:: {name}", "", *_help(command.help or "")]
        lines += [".. code-block:: none", "", f"   {_usage(name, command)}", ""]
        for parameter in command.params:
            text = plain(" ".join((parameter.help or "").split()))
            lines += [_signature(parameter, context), "", f"   {text}{_facts(parameter)}", ""]
    return "\n".join(lines)


def is_argument(parameter: Any) -> bool:
    """Whether a parameter is given by its place, not by its name."""
    return bool(parameter.param_type_name == "argument")


def option_names(parameter: Any) -> list[str]:
    """Every spelling of an option."""
    return [*parameter.opts, *parameter.secondary_opts]


def _usage(name: str, command: Any) -> str:
    arguments = [one.metavar or one.name for one in command.params if is_argument(one)]
    if getattr(command, "commands", None):
        arguments = ["COMMAND ..."]
    return " ".join([name, "[OPTIONS]", *arguments])


def _help(text: str) -> list[str]:
    """Paragraphs as they are; those marked by a backspace keep their lines."""
    lines = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        kept = paragraph.strip("\n").splitlines()
        if kept and kept[0].strip() == "\b":
            heading, *rest = kept[1:]
            lines += [heading, "", ".. code-block:: bash", ""]
            lines += [f"   {line.strip()}" for line in rest]
        else:
            lines.append(plain(" ".join(paragraph.split())))
        lines.append("")
    return lines


def _signature(parameter: Any, context: Any) -> str:
    if is_argument(parameter):
        return f".. describe:: {parameter.metavar or parameter.name}"
    # The help's own words for the value: "-c, --run-config <path>".
    shown = parameter.get_help_record(context)[0]
    value = "" if parameter.is_flag else re.findall(r" (?:<.+>|\S+)$", shown)[0]
    return ".. option:: " + ", ".join(f"{one}{value}" for one in option_names(parameter))


def _facts(parameter: Any) -> str:
    facts = []
    if parameter.required:
        facts.append("Required.")
    elif is_default_worth_showing(parameter):
        facts.append(f"Default: ``{parameter.default}``.")
    return "".join(f" {fact}" for fact in facts)


def is_default_worth_showing(parameter: Any) -> bool:
    """A default that says something: neither an absent value nor a flag that is off."""
    return isinstance(parameter.default, (int, float, str, Path)) and not isinstance(
        parameter.default, bool
    )


# -- RST -----------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Plain text as RST: what would be markup is escaped, ``literals`` stay."""
    parts = re.split(r"(``[^`]+``)", text)
    return "".join(
        part if index % 2 else re.sub(r"([\\*`|])|(_)(?!\w)", r"\\\g<0>", part)
        for index, part in enumerate(parts)
    )


def _title(text: str, mark: str) -> list[str]:
    return [text, mark * len(text), ""]


def pages() -> dict[str, str]:
    """Every generated page: ``{file name: RST}``."""
    return {"configuration.rst": configuration_page(), "commands.rst": commands_page()}


def write_pages(app: Any) -> None:
    """Write what has changed, so that an unchanged page is not built again."""
    from layers import layers_svg  # beside this file, on the path of a documentation build

    directory = Path(app.srcdir) / "reference" / "generated"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = directory / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    (directory / "layers.svg").write_text(layers_svg(), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
