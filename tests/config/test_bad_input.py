"""What bad input gets: one clear line, exit status 2, nothing created or overwritten."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import gymnasium
import pytest

RUN = "env: {name: CartPole-v1}\nloop: {parameters: {max_episodes: 1}}\n"
AGENT = """
from gym_loop.agents import BaseAgent
from gym_loop.errors import SpaceError
class Plain: pass
class Picky(BaseAgent):
    def __init__(self, **params):
        super().__init__(**params)
        raise SpaceError("Picky needs Box actions; Pendulum-v1 has them")
class Careless(BaseAgent):
    def __init__(self, **params):
        super().__init__(**params)
        self.size = self.parameters["action_space"].shape[0]
class Heavy(BaseAgent):
    def __init__(self, **params):
        import gym
class Sound(BaseAgent):
    @staticmethod
    def get_default_parameters():
        return {"rate": 0.5, "layers": [8]}
"""


@dataclass(frozen=True)
class Case:
    """A command that is refused.

    Args:
        run: text of run.yaml; None for no such file.
        message: what the error output must hold, each part.
        options: further arguments of ``train -c run.yaml``.
        files: further files in the working directory.
        own_traceback: the user's own is to be shown.
    """

    run: str | bytes | None
    message: tuple[str, ...]
    options: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    own_traceback: bool = False


CASES = {
    "missing file": Case(None, ("run.yaml: there is no such file", "gym-loop create-default")),
    "not yaml": Case("agent: [1\nenv: 2\n", ("run.yaml:2: this is not valid YAML",)),
    "no text": Case(b"\x00\xff\x00", ("run.yaml: cannot be read",)),
    "aliases of aliases": Case(
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdef")),
        ("run.yaml: holds more than 100,000 values, its aliases written out",),
    ),
    "tabs": Case("env:\n\tname: x\n", ("run.yaml:2: this is not valid YAML", "takes no tab there")),
    "a control character": Case("seed: 1\nenv: \x07\n", ("run.yaml:2: ", "character U+0007")),
    "no-break spaces": Case(
        "env:\n\xa0\xa0name: x\n", ("run.yaml:2: ", "no-break spaces come before it; write plain")
    ),
    "a list in itself": Case("agent: &a [*a]\n", ("nested too deeply, or in itself",)),
    "plain text": Case("hello", ("run.yaml:1: must be a mapping", "not 'hello'")),
    "list at the top": Case("- agent\n", ("run.yaml:1: must be a mapping", "not a list")),
    "list for a section": Case(
        "seed: 1\nenv: [CartPole-v1]\n", ("run.yaml:2: env: must be a mapping", "not a list")
    ),
    "list of parameters": Case(
        "loop:\n  parameters: [1]\n", ("run.yaml:2: loop.parameters: must be a mapping, not a l",)
    ),
    "misspelt section": Case("agnet: {}\n", ("run.yaml:1: agnet: unknown; did you mean agent?",)),
    "misspelt class key": Case(
        "agent:\n  clas: x\n", ("run.yaml:2: agent.clas: unknown; did you mean class?",)
    ),
    "misspelt env key": Case(
        "env:\n  nmae: x\n", ("run.yaml:2: env.nmae: unknown; did you mean name?",)
    ),
    "misspelt loop parameter": Case(
        "loop:\n  parameters:\n    max_episods: 1\n",
        ("run.yaml:3: loop.parameters.max_episods: unknown; did you mean max_episodes?",),
    ),
    "misspelt agent parameter": Case(
        "agent:\n  class: mine.py:Sound\n  parameters:\n    raet: 1\n",
        ("run.yaml:4: agent.parameters.raet: unknown; did you mean rate?",),
    ),
    "misspelt wrapper key": Case(
        "env:\n  wrappers:\n  - clas: x\n",
        ("run.yaml:3: env.wrappers.0.clas: unknown; did you mean class?",),
    ),
    "wrong type of a loop parameter": Case(
        "loop:\n  parameters:\n    max_episodes: many\n",
        ("run.yaml:3: loop.parameters.max_episodes: 'many' is str, but must be int or null",),
    ),
    "wrong type of an agent parameter": Case(
        "agent:\n  class: mine.py:Sound\n  parameters:\n    layers: 3\n",
        ("run.yaml:4: agent.parameters.layers: 3 is int, but must be list",),
    ),
    "out of range": Case(
        "loop:\n  parameters:\n    max_episodes: 0\n",
        ("run.yaml:3: loop.parameters.max_episodes: 0 is too small; it must be at least 1",),
    ),
    "negative seed": Case("seed: -1\n", ("run.yaml:1: seed: -1 is not a seed; use an integer",)),
    "huge seed": Case(f"seed: {2**32}\n", ("run.yaml:1: seed: 4294967296 is not a seed",)),
    "negative --seed": Case(RUN, ("-1 is not a seed; use an integer from 0",), ("--seed", "-1")),
    "misspelt --set": Case(
        RUN,
        ("--set loop.parameters.max_steeps: loop.parameters.max_steeps: unknown; did you mean",),
        ("--set", "loop.parameters.max_steeps=3"),
    ),
    "--set without a value": Case(RUN, ("--set seed: write --set",), ("--set", "seed")),
    "missing module": Case(
        "agent:\n  class: no_such_module_at_all:Agent\n",
        ("run.yaml:2: agent.class: there is no module no_such_module_at_all",),
    ),
    "missing module beside others": Case(
        "agent:\n  class: gym_loop.agents.random_agnet:RandomAgent\n",
        ("there is no module gym_loop.agents.random_agnet; did you mean random_agent?",),
    ),
    "missing class file": Case(
        "agent:\n  class: nope.py:Agent\n", ("run.yaml:2: agent.class: there is no file nope.py",)
    ),
    "broken module": Case(
        "agent:\n  class: broken.py:Agent\n",
        ("run.yaml:2: agent.class: broken.py failed while it was imported: ValueError: on purpose",
         'broken.py", line 2'),
        files={"broken.py": "\nraise ValueError('on purpose')\n"},
        own_traceback=True,
    ),
    "missing class": Case(
        "agent:\n  class: mine.py:Soudn\n",
        ("run.yaml:2: agent.class: mine.py has no class Soudn; did you mean Sound?",),
    ),
    "no agent": Case(
        "agent:\n  class: mine.py:Plain\n",
        ("mine.py:Plain is not an agent: it must derive from gym_loop.agents.BaseAgent",),
    ),
    "no loop": Case(
        "loop:\n  class: mine.py:Plain\n",
        ("mine.py:Plain is not a loop: it must derive from gym_loop.loops.BaseLoop",),
    ),
    "no wrapper": Case(
        "env:\n  wrappers: ['mine.py:Plain']\n",
        ("env.wrappers.0.class: mine.py:Plain is not a wrapper: it must derive from gymnasium",),
    ),
    "no class string": Case("agent:\n  class: RandomAgent\n", ("write package.module:Class",)),
    "unknown environment": Case(
        "env:\n  name: CartPol-v1\n",
        ("run.yaml:2: env.name: there is no environment CartPol-v1; did you mean CartPole-v1?",),
    ),
    "unknown version": Case(
        "env:\n  name: Pendulum-v0\n", ("there is no environment Pendulum-v0; use Pendulum-v1",)
    ),
    "unknown namespace": Case(
        "env:\n  name: nowhere/X-v0\n", ("nothing has registered the namespace nowhere",)
    ),
    "missing import": Case(
        "env:\n  imports: [no_such_module_at_all]\n",
        ("run.yaml:2: env.imports: there is no module no_such_module_at_all",),
    ),
    "broken import": Case(
        "env:\n  imports: [broken.py]\n",
        ("run.yaml:2: env.imports: broken.py failed while it was imported: KeyError",),
        files={"broken.py": "raise KeyError(1)\n"},
        own_traceback=True,
    ),
    "missing package": Case(
        "env: {name: NeedsPackage-v0}\n", ("NeedsPackage-v0 needs", "pip install no_such_package")
    ),
    "refused environment parameters": Case(
        "env:\n  name: CartPole-v1\n  parameters: {gravity: 3}\n",
        ("env.parameters: CartPole-v1 refused {'gravity': 3}", "it takes sutton_barto_reward"),
    ),
    "refused wrapper parameters": Case(
        "env:\n  wrappers:\n  - class: gymnasium.wrappers:ClipReward\n    parameters: {x: 1}\n",
        ("env.wrappers: gymnasium.wrappers:ClipReward refused {'x': 1}", "it takes min_reward"),
    ),
    "agent refuses the spaces": Case(
        "agent: {class: 'mine.py:Picky'}\nenv: {name: CartPole-v1}\n",
        ("Picky needs Box actions; Pendulum-v1 has them",),
    ),
    "agent cannot handle the spaces": Case(
        "agent: {class: 'mine.py:Careless'}\nenv: {name: CartPole-v1}\n",
        ("the agent mine.py:Careless could not be made for Box", "and Discrete(2)", "IndexError",
         'mine.py", line 12'),
        own_traceback=True,
    ),
    "agent imports what is missing": Case(
        "agent: {class: 'mine.py:Heavy'}\n",
        ("mine.py:Heavy: ModuleNotFoundError: No module named 'gym'; it is Gymnasium today",),
    ),
    "directory below a file": Case(
        "loop:\n  parameters:\n    logdir: mine.py/logs\n",
        ("the directory mine.py/logs cannot be written", "choose another"),
    ),
    "second directory below a file": Case(
        "loop:\n  parameters:\n    checkpoint_dir: mine.py\n",
        ("the directory mine.py cannot be written", "choose another"),
    ),
    "video directory below a file": Case(
        "loop:\n  parameters:\n    eval_record_dir: mine.py/videos\n",
        ("the directory mine.py/videos cannot be written",),
    ),
    "impossible name": Case(RUN, ("--name 'a/b': a run's name is made of",), ("--name", "a/b")),
    "nothing to resume": Case(RUN, ("there is no run of run.yaml in logs", "train one first"),
                              ("--resume",)),
    "no such run": Case(RUN, ("there is no run run-7 in logs",), ("--resume", "run-7")),
    "name and resume": Case(RUN, ("--name and --resume exclude",), ("--name", "x", "--resume")),
    "no window": Case(
        "loop: {parameters: {render: true}}\n",
        ("Pendulum-v1 cannot open a window here", "set render to false"),
    ),
    "no frames": Case(
        "env: {name: Blind-v0}\nloop: {parameters: {record: true}}\n",
        ("Blind-v0 cannot give frames (record)", "set render and record to false"),
    ),
    "unknown logger": Case(
        "loop:\n  parameters:\n    loggers: ['mine.py:Nope']\n", ("mine.py has no class Nope",)
    ),
}  # fmt: skip


def needs_a_package() -> None:
    import no_such_package_at_all  # type: ignore[import-not-found]  # noqa: F401


class Blind(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(1)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    gymnasium.register("NeedsPackage-v0", needs_a_package)
    gymnasium.register("Blind-v0", Blind)


def everything(directory: Path) -> dict[str, bytes | None]:
    """Every file below a directory with its content, and every directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
        if "__pycache__" not in path.parts
    }


def prepare(case: Case, workdir: Path) -> dict[str, bytes | None]:
    for name, text in {"mine.py": AGENT, **case.files}.items():
        (workdir / name).write_text(text, encoding="utf-8")
    if isinstance(case.run, bytes):
        (workdir / "run.yaml").write_bytes(case.run)
    elif case.run is not None:
        (workdir / "run.yaml").write_text(case.run, encoding="utf-8")
    return everything(workdir)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_train(case: Case, workdir: Path, gym_loop_command: Callable) -> None:
    before = prepare(case, workdir)
    outcome = gym_loop_command("train", "-c", "run.yaml", *case.options)
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("gym-loop: ")
    for part in case.message:
        assert part in outcome.err
    assert ("Traceback" in outcome.err) is case.own_traceback
    assert "gym_loop/" not in outcome.err  # no frame of ours
    if not case.own_traceback:
        assert outcome.err.count("\n") == 1, outcome.err
    assert everything(workdir) == before


TRAIN_ONLY = {
    "impossible name", "nothing to resume", "no such run", "name and resume",
    "directory below a file", "second directory below a file", "video directory below a file",
    "no window", "no frames", "unknown logger",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CASES if name not in TRAIN_ONLY])
def test_evaluate(name: str, workdir: Path, gym_loop_command: Callable) -> None:
    case = CASES[name]
    before = prepare(case, workdir)
    outcome = gym_loop_command("evaluate", "-c", "run.yaml", *case.options)
    assert outcome.status == 2, outcome
    assert outcome.out == ""
    for part in case.message:
        assert part in outcome.err
    assert ("Traceback" in outcome.err) is case.own_traceback
    assert everything(workdir) == before


CHECK_SKIPS = {"impossible name", "nothing to resume", "no such run", "name and resume"}


@pytest.mark.parametrize(
    "name", [name for name in CASES if name not in CHECK_SKIPS and "--seed" not in name]
)
def test_check(name: str, workdir: Path, gym_loop_command: Callable) -> None:
    case = CASES[name]
    before = prepare(case, workdir)
    outcome = gym_loop_command("check", "-c", "run.yaml", *case.options)
    assert outcome.status == 1, outcome
    errors = "".join(line for line in outcome.out.splitlines(keepends=True))
    assert "error " in errors
    for part in case.message:
        if part != "choose another":
            assert part in errors
    assert everything(workdir) == before


def test_everything_at_once(workdir: Path, gym_loop_command: Callable) -> None:
    (workdir / "run.yaml").write_text("agnet: 1\nenv: {name: X-v0}\nseed: -1\n")
    outcome = gym_loop_command("train", "-c", "run.yaml", "--set", "loop.lop=3")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 4
    for part in ("run.yaml:1: agnet", "run.yaml:2: env.name", "run.yaml:3: seed", "--set loop.lop"):
        assert part in outcome.err


class TestCreateDefault:
    def test_refuses_to_overwrite(self, workdir: Path, gym_loop_command: Callable) -> None:
        (workdir / "run.yaml").write_text("mine")
        outcome = gym_loop_command("create-default", "-c", "run.yaml")
        assert outcome.status == 2
        assert "run.yaml exists; choose another name, or overwrite it with --force" in outcome.err
        assert (workdir / "run.yaml").read_text() == "mine"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("-a", "nope.py:A"), "agent.class: there is no file nope.py"),
            (("-l", "gym_loop.agents.random_agent:RandomAgent"), "is not a loop"),
            (("-e", "CartPol-v1"), "did you mean CartPole-v1?"),
        ],
    )
    def test_bad_names(
        self, options: tuple[str, str], message: str, workdir: Path, gym_loop_command: Callable
    ) -> None:
        outcome = gym_loop_command("create-default", "-c", "run.yaml", *options)
        assert outcome.status == 2
        assert message in outcome.err
        assert list(workdir.iterdir()) == []

    def test_no_such_directory(self, workdir: Path, gym_loop_command: Callable) -> None:
        outcome = gym_loop_command("create-default", "-c", "no/run.yaml")
        assert outcome.status == 2
        assert "no/run.yaml cannot be written: there is no directory no" in outcome.err


class TestEvaluate:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--run", "run-7"), "there is no run run-7 in logs"),
            (("--checkpoint", "nowhere"), "nowhere: there is no such checkpoint; give latest"),
            (("--episodes", "0"), "0 is too small; it must be at least 1"),
            (("--seed", "-1"), "-1 is not a seed"),
        ],
    )
    def test_bad_options(
        self, options: tuple[str, str], message: str, workdir: Path, gym_loop_command: Callable
    ) -> None:
        (workdir / "run.yaml").write_text(RUN)
        outcome = gym_loop_command("evaluate", "-c", "run.yaml", *options)
        assert outcome.status == 2, outcome
        assert message in outcome.err
        assert "Traceback" not in outcome.err
        assert [path.name for path in workdir.iterdir()] == ["run.yaml"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "--run-config"),
        (("trian", "-c", "x"), "No such command"),
        (("train", "-c", "x", "--sed", "3"), "No such option"),
        (("train", "-c", "x", "--seed", "many"), "many"),
        (("new", "agnet", "a.py"), "'agnet' is none of agent, loop, env; did you mean agent?"),
    ],
)
def test_usage(
    arguments: tuple[str, ...], message: str, workdir: Path, gym_loop_command: Callable
) -> None:
    outcome = gym_loop_command(*arguments)
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert list(workdir.iterdir()) == []
