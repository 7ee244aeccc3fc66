"""YAML read with the safe loader and the line of every value; and written with comments."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gym_loop.errors import ConfigError, Finding

Path_ = tuple[Any, ...]

# More than any run file needs; a few aliases of aliases would otherwise fill the memory.
MAX_VALUES = 100_000
MAX_BYTES = 1_000_000  # reading takes some seconds for each million
MAX_BITS = 10_000  # of an integer; more digits Python does not write
MAX_KEY = 120  # characters, quotes and all
_YAML = "!yaml"  # key of what JSON knows only as YAML text


class _Loader(yaml.SafeLoader):
    """The safe loader, for which ``1e-3`` is a number too (YAML 1.1 wants ``1.0e-3``)."""


class _Dumper(yaml.SafeDumper):
    """The safe writer; it quotes what `_Loader` would not read back as text."""


_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)
_RESOLVERS = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _first in "-+0123456789.":
    _RESOLVERS.setdefault(_first, []).append(("tag:yaml.org,2002:float", _FLOAT))
_Loader.yaml_implicit_resolvers = _Dumper.yaml_implicit_resolvers = _RESOLVERS


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Only the double-quoted style keeps line breaks on one line, at any depth.
    style = '"' if not text.isprintable() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _write_bytes(dumper: yaml.SafeDumper, data: bytes) -> yaml.ScalarNode:
    text = base64.b64encode(data).decode("ascii")
    return dumper.represent_scalar("tag:yaml.org,2002:binary", text, '"')


def _write_set(dumper: yaml.SafeDumper, items: set[Any]) -> yaml.MappingNode:
    # In one order, whatever order the process has them in.
    ordered = sorted(items, key=lambda item: (type(item).__name__, repr(item)))
    return dumper.represent_mapping("tag:yaml.org,2002:set", dict.fromkeys(ordered))


def _read_ordered(loader: yaml.SafeLoader, node: yaml.Node) -> dict[Any, Any]:
    """An ordered map as a dictionary, which is one: as pairs it would be written as lists."""
    (pairs,) = loader.construct_yaml_omap(node)
    try:
        return dict(pairs)
    except TypeError as error:
        mark = node.start_mark
        raise yaml.constructor.ConstructorError(None, None, str(error), mark) from None


def _read_pairs(loader: yaml.SafeLoader, node: yaml.Node) -> list[list[Any]]:
    (pairs,) = loader.construct_yaml_pairs(node)
    return [list(pair) for pair in pairs]


def _read_integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    number: int = loader.construct_yaml_int(node)
    if number.bit_length() > MAX_BITS:
        problem = "found an integer of too many digits"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return number


_Dumper.add_representer(str, _write_text)
_Dumper.add_representer(bytes, _write_bytes)
_Dumper.add_representer(set, _write_set)
_Loader.add_constructor("tag:yaml.org,2002:int", _read_integer)
_Loader.add_constructor("tag:yaml.org,2002:omap", _read_ordered)
_Loader.add_constructor("tag:yaml.org,2002:pairs", _read_pairs)


@dataclass
class Document:
    """A YAML document and where its values stand.

    Args:
        data: the content.
        source: the file's name, for messages.
        lines: line number, from 1, of the value at each path of keys and indices.
    """

    data: Any
    source: str = ""
    lines: dict[Path_, int] = field(default_factory=dict)

    def line(self, path: Path_) -> int | None:
        """The line of a value, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def set(self, key: str, value: Any) -> None:
        """Put a value at a dotted key, making the mappings on the way; list items by number.

        Raises:
            ConfigError: a list has no such item.
        """
        *above, last = key.split(".")
        if self.data is None:
            self.data = {}
        if not isinstance(self.data, dict):
            return  # no run file, which reading it will say
        target: Any = self.data
        for part in above:
            step = _step(target, part, key)
            inner = target.get(step) if isinstance(target, dict) else target[step]
            if isinstance(inner, str) and isinstance(target, list):
                inner = target[step] = {"class": inner}  # a wrapper or a logger, only named
            if not isinstance(inner, (dict, list)):
                inner = target[step] = {}
            target = inner
        target[_step(target, last, key)] = value


def _step(target: Any, part: str, key: str) -> Any:
    """The key of a mapping, or the number of a list's item."""
    if isinstance(target, dict):
        return next((one for one in target if str(one) == part), part)  # 1 is written 1 too
    if not part.isdecimal() or int(part) >= len(target):
        raise ConfigError(
            f"--set {key}: {part} is not an item of the list; there are {len(target)}"
        )
    return int(part)


def read_yaml_file(path: Path) -> Document:
    """Read the YAML document of a file.

    Raises:
        ConfigError: the file cannot be read; or as `read_yaml`.
    """
    return read_yaml(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a file that a user wrote.

    Raises:
        ConfigError: there is none, or it holds no text.
    """
    try:
        # One that a shell made, /dev/fd/63, has somebody at its other end.
        if path.is_fifo() and path.parts[1:2] not in (("dev",), ("proc",)):
            raise ConfigError([Finding("", "is a FIFO, not a file", str(path))])
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) <= MAX_BYTES:
            return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        problem = (
            f"holds more than {MAX_BYTES:,} bytes, too much for a file that people write; keep data"
            " in a file of its own, and name that here"
        )
    except FileNotFoundError:
        problem = "there is no such file"
    except IsADirectoryError:
        problem = "is a directory, not a file"
    except UnicodeDecodeError as error:
        problem = f"cannot be read: byte {error.start} is not UTF-8; save the file as UTF-8 text"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    raise ConfigError([Finding("", problem, str(path))])


def read_yaml(text: str, source: str = "") -> Document:
    """Read one YAML document.

    Raises:
        ConfigError: not valid YAML, a mapping holds the same key twice, or there are more than
            `MAX_VALUES` values in it, those that aliases repeat included.
    """
    findings: list[Finding] = []
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            lines: dict[Path_, int] = {}
            if node is not None:
                _note_lines(loader, node, (), lines, findings, source)
            data = loader.construct_document(node) if node is not None and not findings else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        if "'\\t'" in problem:
            problem += "; YAML takes no tab there, write spaces"
        line = mark.line + 1 if mark else None
        raise ConfigError(
            [Finding("", f"this is not valid YAML: {problem}", source, line)]
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"this is not valid YAML: delete the character U+{error.character:04X}"
        raise ConfigError([Finding("", problem, source, line)]) from None
    except RecursionError:
        problem = "this is not valid YAML: nested too deeply, or in itself"
        raise ConfigError([Finding("", problem, source)]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([Finding("", f"this is not valid YAML: {error}", source)]) from None
    if findings:
        raise ConfigError(findings)
    return Document(data, source, lines)


def _note_lines(
    loader: _Loader,
    node: yaml.Node,
    path: Path_,
    lines: dict[Path_, int],
    findings: list[Finding],
    source: str,
) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > MAX_VALUES:
        problem = f"holds more than {MAX_VALUES:,} values, its aliases written out"
        raise ConfigError([Finding("", problem, source)])
    if isinstance(node, yaml.MappingNode):
        seen: dict[Any, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue  # constructing the document says what is wrong with it
            merges = key_node.tag == "tag:yaml.org,2002:merge"
            key = key_node.value if merges else loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            way = (*path, key)
            if key in seen and not merges:
                place = ".".join(str(part) for part in way)
                problem = f"is given twice (first in line {seen[key]}); keep one"
                findings.append(Finding(place, problem, source, line))
            seen[key] = line
            lines[way] = line
            _note_lines(loader, value_node, way, lines, findings, source)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(loader, item, (*path, index), lines, findings, source)


def is_plain(value: Any) -> bool:
    """Whether `write_yaml` can write a value: what YAML knows, from numbers to dates and sets."""
    try:
        _flow(value)
    except (yaml.representer.RepresenterError, ValueError):  # of an integer of too many digits
        return False
    return True


def as_json(value: Any) -> Any:
    """A value of a run file as JSON without loss: ``{"!yaml": text}`` for what JSON doesn't know.

    That is dates, sets, bytes, NaN, infinities, and mappings whose keys are not all text.
    """
    value = plain(value)
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if (
        isinstance(value, dict)
        and _YAML not in value
        and all(isinstance(one, str) for one in value)
    ):
        return {key: as_json(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return {_YAML: _flow(value)}


def from_json(value: Any) -> Any:
    """What `as_json` made JSON of.

    Raises:
        ConfigError: it is not valid YAML.
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_YAML}:
        return read_yaml(str(value[_YAML])).data
    return {key: from_json(item) for key, item in value.items()}


def canonical(value: Any) -> str:
    """A text that two values share if a run file means the same by them.

    By it NaN equals NaN, and 1, 1.0 and true are three values, which ``==`` sees the other way.
    """
    return json.dumps(as_json(value), sort_keys=True)


def write_yaml(data: Mapping[str, Any], comments: Mapping[Path_, str] | None = None) -> str:
    """Write nested mappings in block style, with a comment line above the paths that have one."""
    lines: list[str] = []
    _write_mapping(data, (), comments or {}, lines)
    return "\n".join(lines) + "\n"


def _write_mapping(
    data: Mapping[str, Any], path: Path_, comments: Mapping[Path_, str], lines: list[str]
) -> None:
    indent = "  " * len(path)
    for key, value in data.items():
        here = (*path, key)
        if here in comments:
            lines.extend(f"{indent}# {line}" for line in _wrap(comments[here], 96 - len(indent)))
        name = _flow(key)
        if len(name) > MAX_KEY:  # YAML wants a mark before it
            lines.extend(f"{indent}{line}" for line in _dump({key: value}, flow=False).splitlines())
        elif isinstance(value, Mapping) and value:
            lines.append(f"{indent}{name}:")
            _write_mapping(value, here, comments, lines)
        elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
            lines.append(f"{indent}{name}:")
            block = _dump(value, flow=False)
            lines.extend(f"{indent}{line}" for line in block.splitlines())
        else:
            lines.append(f"{indent}{name}: {_flow(value)}")


def _wrap(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)


def _flow(value: Any) -> str:
    return _dump(value, flow=True).removesuffix("\n").removesuffix("\n...").strip()


def _dump(value: Any, *, flow: bool) -> str:
    text: str = yaml.dump(
        plain(value),
        Dumper=_Dumper,
        default_flow_style=flow,
        width=10**6,
        allow_unicode=True,
        sort_keys=False,
    )
    return text


def plain(value: Any) -> Any:
    """Tuples, NumPy numbers and the like as the plain values that the safe writer knows."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        return value.tolist()
    return value
