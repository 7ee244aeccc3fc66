"""A file imports only from floors below its own, or from what stands before it on its floor."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gym_loop

PACKAGE = Path(gym_loop.__file__).parent

# Floor by floor, and on each floor in order. A folder stands for all its files that have no
# entry of their own; among themselves these may import each other, but not in a circle.
FLOORS: list[list[str]] = [
    ["errors.py", "transition.py"],
    [
        "files.py",
        "sources.py",
        "copies.py",
        "class_loader.py",
        "late_imports.py",
        "arguments.py",
        "parameters.py",
        "yaml_file.py",
        "text.py",
        "scaffold.py",
        "bootstrap.py",
        "results.py",
        "state_tree/",
        "seeding.py",
        "threads.py",
        "schedules.py",
        "normalization.py",
        "networks/",
        "buffers/",
    ],
    [
        "envs/",
        "runs/",
        "bridges/",
        "agents/base_agent.py",
        "agents/__init__.py",
        "loops/base_loop.py",
        "loops/__init__.py",
    ],
    ["agents/", "loops/", "testing.py", "contract.py"],
    ["run_config.py", "config.py", "presets/"],
    [
        "budgets.py",
        "own_code.py",
        "resume.py",
        "building.py",
        "changed_parameters.py",
        "session.py",
        "many_seeds.py",
        "experiment.py",
        "seed_worker.py",
        "watching/",
    ],
    ["checking.py", "verification.py", "terminal.py", "sweeps/", "report/"],
    [
        "__init__.py",
        "cli_serve.py",
        "cli_options.py",
        "cli_report.py",
        "cli_sweep.py",
        "cli_train.py",
        "cli_watch.py",
        "cli.py",
        "__main__.py",
    ],
]
HEAVY = {
    "ale_py", "av", "box2d", "matplotlib", "mlflow", "moviepy", "mujoco", "optuna", "pygame", "ray",
    "tensorboard", "tensorflow", "torch", "wandb",
}  # fmt: skip
WIRE = {"httptools", "orjson", "picows", "uvicorn", "uvloop", "websockets", "zmq"}
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
PLACES = {
    entry: (floor, position)
    for floor, entries in enumerate(FLOORS)
    for position, entry in enumerate(entries)
}


def entry_of(file: str) -> str | None:
    """The table's entry for a file: its own, or that of the nearest folder around it."""
    if file in PLACES:
        return file
    folders = [f"{parent.as_posix()}/" for parent in Path(file).parents]
    return next((folder for folder in folders if folder in PLACES), None)


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
    own, other = entry_of(file), entry_of(target)
    assert own is not None
    assert other is not None
    if own == other:
        return file != target
    return PLACES[other] < PLACES[own]


def test_table_and_package_agree() -> None:
    unknown = [file for file in FILES if entry_of(file) is None]
    assert not unknown, f"give these a floor: {unknown}"
    used = {entry_of(file) for file in FILES}
    assert set(PLACES) == used, "entries without a file"


@pytest.mark.parametrize("file", FILES)
def test_imports_run_down(file: str) -> None:
    upward = [
        f"{file}:{line} imports {target}"
        for target, line in arrows(file)
        if not may_import(file, target)
    ]
    assert not upward


def test_the_rule_refuses_what_runs_up() -> None:
    assert may_import("experiment.py", "config.py")
    assert may_import("runs/training_run.py", "envs/making.py")
    assert may_import("agents/random_agent.py", "agents/base_agent.py")
    assert not may_import("config.py", "experiment.py")
    assert not may_import("envs/making.py", "runs/training_run.py")
    assert not may_import("agents/base_agent.py", "agents/random_agent.py")
    assert not may_import("agents/random_agent.py", "loops/default_loop.py")
    assert not may_import("errors.py", "errors.py")


def test_no_import_circle() -> None:
    graph = {file: {target for target, _ in arrows(file)} for file in FILES}
    # Take away the files that import nothing that is left; what can't be taken away is a circle.
    while leaves := {file for file, targets in graph.items() if not targets & graph.keys()}:
        graph = {file: targets for file, targets in graph.items() if file not in leaves}
    assert not graph


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
    in_a_protocol = file.startswith("bridges/") and file.count("/") == 2
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
    modules = [f"gym_loop.bridges.{one}" for one in ("http", "websocket", "zeromq", "nats")]
    lines = [f"import {one}.{part}" for one in modules for part in ("settings", "server", "env")]
    lines += [f"import gym_loop.bridges.native.{part}" for part in ("env", "vector_env")]
    loaded = loaded_after("\n".join(["import gym_loop.cli_serve", *lines]))
    assert "gym_loop" in loaded
    assert not loaded & (HEAVY | WIRE)
