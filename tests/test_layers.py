"""A package imports only from layers below its own, and holds no circle."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gym_loop

PACKAGE = Path(gym_loop.__file__).parent

# From top to bottom. A package imports only packages of the layers below its own.
LAYERS: list[list[str]] = [
    ["cli"],
    ["watch"],
    ["report", "sweeps", "serve"],
    ["training"],
    ["config"],
    ["testing"],
    ["loops"],
    ["agents"],
    ["runs"],
    ["envs"],
    ["nn"],
    ["checkpoints"],
    ["wire"],
    ["schema"],
    ["errors"],
]
# The public API and ``python -m gym_loop``: above all layers; its version is for everyone.
TOP = {"__init__", "__main__"}
HEAVY = {
    "ale_py", "av", "box2d", "matplotlib", "mlflow", "moviepy", "mujoco", "optuna", "pygame", "ray",
    "tensorboard", "tensorflow", "torch", "wandb",
}  # fmt: skip
WIRE = {"httptools", "orjson", "starlette", "uvicorn", "uvloop", "websockets", "zmq"}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


def package_of(file: str) -> str:
    """The package, or the module beside the packages, that a file belongs to."""
    return file.partition("/")[0].removesuffix(".py")


def module_file(module: str) -> str | None:
    """The file of a module of ours, None where there is none."""
    parts = module.split(".")[1:]
    candidates = ["/".join(parts) + ".py", "/".join([*parts, "__init__.py"])]
    return next((file for file in candidates if file in FILES), None)


def imported_modules(file: str) -> Iterator[tuple[str, str | None, int]]:
    """Module, name and line of every import in a file, wherever in it."""
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write absolute imports"
            for alias in node.names:
                yield node.module or "", alias.name, node.lineno


def arrows(file: str) -> list[tuple[str, int]]:
    """The files of ours that a file imports, with the line."""
    found = []
    for module, name, line in imported_modules(file):
        if module.partition(".")[0] != "gym_loop":
            continue
        target = (module_file(f"{module}.{name}") if name else None) or module_file(module)
        assert target, f"{file}:{line}: there is no {module}"
        found.append((target, line))
    return found


def may_import(file: str, target: str) -> bool:
    own, other = package_of(file), package_of(target)
    if own in TOP or other == "__init__":
        return True
    return own == other or LAYER_OF[own] < LAYER_OF[other]


def without_leaves(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is left once everything is taken away that imports nothing that is left: the circles."""
    while leaves := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    return graph


def test_every_package_has_a_layer() -> None:
    assert {package_of(file) for file in FILES} == LAYER_OF.keys() | TOP


@pytest.mark.parametrize("file", FILES)
def test_imports_run_down(file: str) -> None:
    upward = [
        f"{file}:{line} imports {target}"
        for target, line in arrows(file)
        if not may_import(file, target)
    ]
    assert not upward


def test_the_rule_refuses_what_runs_up() -> None:
    assert may_import("training/experiment.py", "config/run_file.py")
    assert may_import("runs/training_run.py", "envs/making.py")
    assert may_import("agents/random_agent.py", "agents/base_agent.py")
    assert may_import("cli/app.py", "__init__.py")
    assert not may_import("config/run_file.py", "training/experiment.py")
    assert not may_import("envs/making.py", "runs/training_run.py")
    assert not may_import("agents/random_agent.py", "loops/default_loop.py")
    assert not may_import("sweeps/sweeping.py", "report/reading.py")
    assert not may_import("errors.py", "schema/files.py")


@pytest.mark.parametrize("package", sorted(LAYER_OF))
def test_no_circle_in_a_package(package: str) -> None:
    files = {file for file in FILES if package_of(file) == package}
    graph = {file: {target for target, _ in arrows(file)} & files for file in files}
    assert not without_leaves(graph)


def test_a_circle_is_found() -> None:
    circle = {"b": {"c"}, "c": {"b"}}
    assert without_leaves({"a": {"b"}, **circle}) == {"a": {"b"}, **circle}
    assert not without_leaves({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def module_level_imports(body: list[ast.stmt]) -> Iterator[str]:
    """Top-level packages imported when the module is: not in functions, not for types alone."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from module_level_imports(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for block in ("body", "orelse", "finalbody"):
                yield from module_level_imports(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from module_level_imports(handler.body)


@pytest.mark.parametrize("file", FILES)
def test_nothing_heavy_at_module_level(file: str) -> None:
    tree = ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
    # What only a protocol's own files import may stand at their top; see the last test.
    in_a_protocol = file.startswith(("envs/remote/", "wire/", "serve/", "watch/"))
    assert not (HEAVY if in_a_protocol else HEAVY | WIRE) & set(module_level_imports(tree.body))


@pytest.mark.parametrize("file", FILES)
def test_files_are_short(file: str) -> None:
    lines = len((PACKAGE / file).read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{file} has {lines} lines"


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.splitlines()}


@pytest.mark.parametrize(
    "code",
    [
        "import gym_loop",
        "sys.argv = ['gym-loop', '--help']\n"
        "import runpy\n"
        "try: runpy.run_module('gym_loop', run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0",
    ],
    ids=["import", "help"],
)
def test_start_is_light(code: str) -> None:
    loaded = loaded_after(code)
    assert "gym_loop" in loaded
    assert not loaded & (HEAVY | {"gymnasium", "numpy", "yaml", "safetensors", "google"})


def test_contracts_are_light() -> None:
    loaded = loaded_after(
        "from gym_loop.agents import BaseAgent\nfrom gym_loop.loops import BaseLoop"
    )
    assert "gymnasium" in loaded
    assert not loaded & HEAVY


def test_what_is_needed_on_the_wire_is_loaded_only_when_it_is_used() -> None:
    packages = ("serve", "serve.zeromq", "serve.nats")
    lines = [
        *(f"import gym_loop.{one}.{part}" for one in packages for part in ("settings", "server")),
        *(
            f"import gym_loop.envs.remote.{one}_env"
            for one in ("http", "gymie", "gymz", "nats", "native")
        ),
    ]
    loaded = loaded_after("\n".join(["import gym_loop.cli.serve", *lines]))
    assert "gym_loop" in loaded
    assert not loaded & (HEAVY | WIRE)
