"""The documentation says everything that the code offers, and nothing that it does not."""

import csv
import importlib
import importlib.util
import inspect
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest

import gym_loop
from gym_loop.agents import BaseAgent
from gym_loop.cli.new import scaffold
from gym_loop.config.run_file import default_config
from gym_loop.loops import BaseLoop
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.loops.vector_loop import VectorLoop
from gym_loop.runs.directory import RunDirectory
from gym_loop.schema.class_strings import load_class, load_module
from gym_loop.schema.files import write_new
from gym_loop.schema.parameters import documentation
from gym_loop.testing import check_agent

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"


def _load_generated() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", DOCS / "_ext" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generated = _load_generated()
COMMANDS = generated.command_tree()
PARAMETERS = [(name, one) for name, command in COMMANDS.items() for one in command.params]
SHIPPED = [cls for found in generated.classes().values() for cls in found]
WRITTEN = sorted(
    path
    for path in DOCS.rglob("*.rst")
    if not path.relative_to(DOCS).as_posix().startswith(("_build/", "reference/generated/"))
)
READ_BY_PEOPLE = [ROOT / "README.rst", *WRITTEN]


def _workbench() -> list[Any]:
    """The classes of the worked examples beside the package."""
    found = []
    for path in sorted([*(ROOT / "agents").glob("*.py"), *(ROOT / "loops").glob("*.py")]):
        module = load_module(str(path))
        found += [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, (BaseAgent, BaseLoop))
            and value.__module__ == module.__name__
        ]
    return found


# -- commands ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_is_in_the_reference(name: str) -> None:
    assert COMMANDS[name].help
    assert f".. program:: {name}\n" in generated.commands_page()


@pytest.mark.parametrize(
    ("command", "parameter"), PARAMETERS, ids=[f"{name} {one.name}" for name, one in PARAMETERS]
)
def test_every_option_and_argument_has_a_help_and_is_in_the_reference(
    command: str, parameter: Any
) -> None:
    assert parameter.help
    text = generated.commands_page().partition(f".. program:: {command}\n")[2]
    section = text.partition(".. program::")[0]
    assert generated.plain(" ".join(parameter.help.split())) in section
    if generated.is_argument(parameter):
        assert f".. describe:: {parameter.metavar}\n" in section
    else:
        for option in generated.option_names(parameter):
            assert re.search(rf"^\.\. option::.* {option}[ ,\n]", section, re.MULTILINE), option


def _shown_commands() -> list[tuple[str, str]]:
    """Every ``gym-loop ...`` of the pages and of the help texts: where, and the line."""
    texts = [(path.relative_to(ROOT).as_posix(), path.read_text()) for path in READ_BY_PEOPLE]
    texts += [(f"help of {name}", command.help or "") for name, command in COMMANDS.items()]
    start = r"(?:^ {2,}(?:\$ |exec )?|``|&& |(?:next|resume|evaluate): +)"
    pattern = re.compile(rf"{start}(gym-loop [a-z-][^`\n]*)", re.MULTILINE)
    return [(place, line) for place, text in texts for line in pattern.findall(text)]


SHOWN = _shown_commands()


def _command_of(line: str) -> str:
    """The longest name of a command that a shown line begins with."""
    words = shlex.split(line.partition(" && ")[0], comments=True)
    names = [" ".join(words[:count]) for count in range(1, len(words) + 1)]
    return next(name for name in reversed(names) if name in COMMANDS)


@pytest.mark.parametrize(("place", "line"), SHOWN, ids=[line for _, line in SHOWN])
def test_every_command_that_is_shown_exists_with_its_options(place: str, line: str) -> None:
    words = shlex.split(line.partition(" && ")[0], comments=True)
    name = _command_of(line)
    assert name != "gym-loop" or words[1].startswith("-"), place
    known = {"--help", "-h"}
    known.update(*(generated.option_names(one) for one in COMMANDS[name].params))
    used = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
    assert used <= known, place


def test_enough_commands_are_shown_for_the_test_above_to_mean_something() -> None:
    shown = {_command_of(line) for _, line in SHOWN}
    assert set(COMMANDS) - {"gym-loop", "gym-loop serve"} <= shown


# -- parameters ----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [*SHIPPED, *_workbench()], ids=lambda cls: cls.__name__)
def test_every_default_parameter_is_documented_with_its_type_and_no_other(cls: Any) -> None:
    docs = documentation(cls)
    assert docs.keys() == cls.get_default_parameters().keys()
    assert all(doc.text and doc.types for doc in docs.values())


@pytest.mark.parametrize("cls", SHIPPED, ids=lambda cls: cls.__name__)
def test_every_default_parameter_is_in_the_reference(cls: Any) -> None:
    page = generated.configuration_page()
    assert f".. _class-{cls.__name__}:" in page
    for name in cls.get_default_parameters():
        assert f".. _parameter-{cls.__name__}-{name}:" in page


def test_every_key_of_the_run_file_is_in_the_reference() -> None:
    assert list(generated.run_file_keys()) == list(generated.run_file_docs())
    for key in generated.run_file_docs():
        assert f".. _key-{key}:" in generated.configuration_page()


@pytest.mark.parametrize("path", READ_BY_PEOPLE, ids=lambda path: path.name)
def test_every_parameter_of_the_loop_that_a_page_names_exists(path: Path) -> None:
    named = set(re.findall(r"loop\.parameters\.(\w+)", path.read_text()))
    misspelt_on_purpose = {"max_episods"}
    known = DefaultLoop.get_default_parameters().keys() | VectorLoop.get_default_parameters().keys()
    assert named - misspelt_on_purpose <= known


# -- pages ---------------------------------------------------------------------------------


def test_every_page_is_in_one_toctree() -> None:
    entries = []
    for path in WRITTEN:
        folder = path.parent.relative_to(DOCS)
        for block in re.findall(r"\.\. toctree::\n((?:(?: {3}.*)?\n)+)", path.read_text()):
            names = [line.strip() for line in block.splitlines() if line.strip()]
            entries += [(folder / name).as_posix() for name in names if not name.startswith(":")]
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in WRITTEN]
    pages += [f"reference/generated/{Path(name).stem}" for name in generated.pages()]
    assert sorted(entries) == sorted(set(pages) - {"index"})


def test_the_architecture_names_every_part_of_the_package() -> None:
    text = (DOCS / "architecture.rst").read_text()
    parts = [path for path in (ROOT / "gym_loop").iterdir() if path.name[0] not in "_."]
    names = [f"{path.name}/" if path.is_dir() else path.name for path in parts]
    assert [name for name in names if name != "py.typed" and f"``{name}``" not in text] == []


def test_every_benchmark_has_its_section() -> None:
    text = (DOCS / "benchmarks.rst").read_text()
    scripts = [path.name for path in (ROOT / "benchmarks").glob("[!_]*.py")]
    assert [name for name in scripts if f"python benchmarks/{name}" not in text] == []


def test_every_metric_of_a_run_is_documented(workdir: Path) -> None:
    result = gym_loop.train(
        {
            "env": {"name": "CartPole-v1"},
            "loop": {"parameters": {"max_episodes": 1, "episodes_per_eval": 1}},
        }
    )
    with open(result.directories["logdir"] / "metrics.csv", newline="") as file:
        columns = next(csv.reader(file))
    text = (DOCS / "logging.rst").read_text()
    assert "eval/return_mean" in columns
    assert [name for name in columns[2:] if f"``{name}``" not in text] == []


def _run_files(page: str) -> list[str]:
    """The whole run files among a page's YAML blocks."""
    text = (DOCS / page).read_text()
    blocks = re.findall(r"code-block:: yaml\n\n((?:(?: {3}.*)?\n)+)", text)
    return [block for block in map(inspect.cleandoc, blocks) if block.startswith("agent:")]


@pytest.mark.parametrize("text", _run_files("coming-from.rst"))
def test_every_run_file_of_another_library_is_read(text: str, workdir: Path) -> None:
    (workdir / "run.yaml").write_text(text)
    assert gym_loop.load_config("run.yaml").stem == "run"


def test_there_are_run_files_of_other_libraries() -> None:
    assert len(_run_files("coming-from.rst")) >= 3


def test_every_name_of_the_public_api_exists() -> None:
    text = (DOCS / "api.rst").read_text()
    names = re.findall(r"``(gym_loop(?:\.\w+)+)``", text)
    assert len(names) >= 20
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
    assert {f"gym_loop.{name}" for name in gym_loop.__all__} - {"gym_loop.__version__"} <= set(
        names
    )


# -- the README ------------------------------------------------------------------------------


def _code_block(language: str, containing: str) -> str:
    text = (ROOT / "README.rst").read_text()
    blocks = re.findall(rf"\.\. code-block:: {language}\n\n((?:(?: {{4}}.*)?\n)+)", text)
    (block,) = [block for block in blocks if containing in block]
    return inspect.cleandoc(block) + "\n"


def test_the_readme_shows_the_default_run_file() -> None:
    assert _code_block("yaml", "agent:") == default_config().to_yaml()


def test_the_agent_of_the_readme_trains(workdir: Path) -> None:
    (workdir / "my_agent.py").write_text(_code_block("python", "class MyAgent"))
    config = {
        "agent": {"class": "my_agent.py:MyAgent"},
        "env": {"name": "CartPole-v1"},
        "loop": {"parameters": {"max_episodes": 5}},
    }
    result = gym_loop.train(config)
    assert (result.episodes, result.exit_reason) == (5, "finished")


@pytest.mark.learning
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("whose", ["README", "template"])
def test_a_first_agent_learns_with_every_seed(whose: str, seed: int, workdir: Path) -> None:
    if whose == "README":
        (workdir / "my_agent.py").write_text(_code_block("python", "class MyAgent"))
        (workdir / "my_agent.yaml").write_text(
            "agent: {class: my_agent.py:MyAgent}\nenv: {name: CartPole-v1}\n"
            "loop: {parameters: {max_episodes: 200}}\n"
        )
    else:
        write_new(scaffold("agent", Path("my_agent.py")))
    assert gym_loop.train("my_agent.yaml", seed=seed).episodes == 200
    # A pole that is pushed at random falls after 23 steps; the limit is 500.
    assert gym_loop.evaluate("my_agent.yaml", episodes=20).returns.mean >= 195


def test_an_evaluation_of_the_readmes_agent_takes_its_best_weights(workdir: Path) -> None:
    (workdir / "my_agent.py").write_text(_code_block("python", "class MyAgent"))
    spaces = {
        "observation_space": gymnasium.spaces.Box(-1, 1, (2,)),
        "action_space": gymnasium.spaces.Discrete(2),
    }
    agent = load_class("my_agent.py:MyAgent")(**spaces, n_envs=1, seed=0)
    agent.best, agent.weights = np.array([1.0, 0.0]), np.array([-1.0, 0.0])
    state = np.array([1.0, 0.0])
    assert agent.act(state, 0) == 0
    agent.training = False
    assert agent.act(state, 0) == 1


# -- the examples of the pages ---------------------------------------------------------------

CLIFF, CART_POLE = {"env": {"name": "CliffWalking-v1"}}, {"env": {"name": "CartPole-v1"}}
BUDGET = {"max_episodes": None, "max_steps": 300}
STEPS = {"loop": {"parameters": BUDGET}}
PPO = {
    "agent": {"class": "gym_loop.agents.ppo:PPO", "parameters": {"n_steps": 100}},
    **STEPS,
}
RUNS = {
    "tabular.py": {"agent": {"class": "tabular.py:Tabular"}, **CLIFF, **STEPS},
    "tabular_complete.py": {"agent": {"class": "tabular_complete.py:Tabular"}, **CLIFF, **STEPS},
    "policy_gradient.py": {
        "agent": {"class": "policy_gradient.py:PolicyGradient"},
        **CART_POLE,
        **STEPS,
    },
    "batch_agent.py": {
        "agent": {"class": "batch_agent.py:Lean"},
        **CART_POLE,
        "loop": {
            "class": "gym_loop.loops.vector_loop:VectorLoop",
            "parameters": {"max_steps": 300, "n_envs": 3, "vectorization": "sync"},
        },
    },
    "milestone.py": {
        **CART_POLE,
        "loop": {"class": "milestone.py:Milestone", "parameters": BUDGET},
    },
    "plain_loop.py": {
        **CART_POLE,
        "loop": {"class": "plain_loop.py:PlainLoop", "parameters": {"max_steps": 300}},
    },
    "noise.py": {
        "env": {
            "name": "CartPole-v1",
            "wrappers": [{"class": "noise.py:Noise", "parameters": {"scale": 0.05}}],
        },
        **STEPS,
    },
    "catch.py": {"env": {"name": "Catch-v0", "imports": ["catch.py"]}, **PPO},
    "small_cnn.py": {
        "env": {"name": "Catch-v0", "imports": ["catch.py"]},
        "agent": {
            "class": "gym_loop.agents.ppo:PPO",
            "parameters": {"network": "small_cnn.py:SmallCNN", "n_steps": 100},
        },
        **STEPS,
    },
    "drift.py": {"env": {"name": "SaveableDrift-v0", "imports": ["drift.py"]}, **STEPS},
    "json_lines.py": {
        **CART_POLE,
        "loop": {"parameters": {**BUDGET, "loggers": ["json_lines.py:JsonLines"]}},
    },
}


@pytest.fixture
def examples(workdir: Path) -> Iterator[Path]:
    """The working directory with a copy of every example; what they register is taken back."""
    for path in EXAMPLES.glob("*.py"):
        (workdir / path.name).write_text(path.read_text())
    before = dict(gymnasium.registry)
    yield workdir
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def test_every_example_is_on_a_page_and_is_run() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    shown = {
        name
        for path in WRITTEN
        for name in re.findall(r"literalinclude:: examples/(\S+\.py)", path.read_text())
    }
    assert names == shown == {*RUNS, "compare.py", "results_table.py"}


@pytest.mark.parametrize("name", RUNS)
def test_every_example_trains_exactly_and_is_evaluated(name: str, examples: Path) -> None:
    result = gym_loop.train(RUNS[name], seed=1)
    assert (result.steps, result.exit_reason) == (300, "finished")
    manifest = RunDirectory(result.run, {"logdir": Path("logs")}).manifest()
    assert manifest["resume"]["verdict"] == "exact"
    evaluated = gym_loop.evaluate(
        RUNS[name], {"loop.parameters.eval_episodes": 2}, run=result.run, seed=1
    )
    assert len(evaluated.episodes) == 2


def test_the_environment_that_cannot_be_saved_says_so(examples: Path) -> None:
    result = gym_loop.train(
        {**RUNS["drift.py"], "env": {"name": "Drift-v0", "imports": ["drift.py"]}}
    )
    manifest = RunDirectory(result.run, {"logdir": Path("logs")}).manifest()
    assert manifest["resume"]["verdict"] == "approximate"
    assert "global random streams" in manifest["resume"]["reason"]


@pytest.mark.parametrize(
    ("class_string", "env"),
    [
        ("tabular.py:Tabular", "CliffWalking-v1"),
        ("tabular_complete.py:Tabular", "CliffWalking-v1"),
        ("policy_gradient.py:PolicyGradient", "CartPole-v1"),
    ],
)
def test_the_agents_of_the_pages_keep_the_contract(
    class_string: str, env: str, examples: Path
) -> None:
    check_agent(load_class(class_string, BaseAgent), env=env)


def test_the_comparison_over_seeds_prints_one_line_a_seed(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, text in scaffold("agent", Path("hill.py")).items():
        path.write_text(text.replace("max_episodes: 100", "max_episodes: 5"))
    runpy.run_path("compare.py")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["hill-1", "hill-2", "hill-3"]


def test_the_table_of_results_has_a_row_a_preset(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script: Any = load_module("results_table.py")
    script.SEEDS, script.EPISODES = range(2), 2
    script.print_table(steps=600)
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["preset", "mean"]
    assert [row.split()[0] for row in rows] == ["ppo/CartPole-v1", "ppo/Pendulum-v1"]
