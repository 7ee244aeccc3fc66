"""A run file is read, merged with the defaults and checked: every finding with its line."""

from pathlib import Path
from typing import Any

import pytest

import gym_loop
from gym_loop.agents.random_agent import RandomAgent
from gym_loop.config.run_file import default_config, flatten, load_config, value_at
from gym_loop.envs.making import WrapperSpec
from gym_loop.errors import ConfigError
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.schema.yaml_file import read_yaml


def findings(text: str, workdir: Path, *overrides: str) -> list[str]:
    """What is found in a run file of this text."""
    (workdir / "run.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config("run.yaml", overrides)
    assert str(error.value) == "\n".join(str(finding) for finding in error.value.findings)
    return str(error.value).splitlines()


def test_defaults(workdir: Path) -> None:
    (workdir / "mine.yaml").write_text("seed: null\n")
    config = load_config("mine.yaml")
    assert config.agent.cls is RandomAgent
    assert config.loop.cls is DefaultLoop
    assert config.loop.parameters == DefaultLoop.get_default_parameters()
    assert config.env.name == "Pendulum-v1"
    assert (config.seed, config.stem, config.path) == (None, "mine", Path("mine.yaml"))


def test_values_are_merged_with_the_defaults(workdir: Path) -> None:
    (workdir / "run.yaml").write_text(
        "env:\n  name: CartPole-v1\n  parameters: {sutton_barto_reward: true}\n"
        "  max_episode_steps: 7\n"
        "  wrappers:\n  - class: gymnasium.wrappers:FrameStackObservation\n"
        "    parameters: {stack_size: 2}\n  - gymnasium.wrappers:NormalizeObservation\n"
        "loop:\n  parameters:\n    max_episodes: 1e2\nseed: 3\n"
    )
    config = load_config("run.yaml")
    assert config.loop.parameters["max_episodes"] == 100
    assert isinstance(config.loop.parameters["max_episodes"], int)
    assert config.loop.parameters["eval_episodes"] == 10
    assert config.env.max_episode_steps == 7
    assert [wrapper.class_name for wrapper in config.env.wrappers] == [
        "gymnasium.wrappers:FrameStackObservation",
        "gymnasium.wrappers:NormalizeObservation",
    ]
    assert config.env.wrappers[0].parameters == {"stack_size": 2}
    assert config.seed == 3


def test_from_a_mapping_leaves_it_alone() -> None:
    source: dict[str, Any] = {"env": {"name": "CartPole-v1"}, "loop": {"parameters": {}}}
    config = load_config(source, {"loop.parameters.max_episodes": 2, "seed": 1})
    assert config.loop.parameters["max_episodes"] == 2
    assert config.overridden == ("loop.parameters.max_episodes", "seed")
    assert source == {"env": {"name": "CartPole-v1"}, "loop": {"parameters": {}}}
    again = load_config(config, ["seed=2"])
    assert (config.seed, again.seed) == (1, 2)
    assert again.env.name == "CartPole-v1"
    assert again.overridden == ("loop.parameters.max_episodes", "seed", "seed")
    assert load_config(again) is again


def test_from_a_mapping_leaves_its_lists_alone() -> None:
    wrapper = {"class": "gymnasium.wrappers:ClipReward", "parameters": {"min_reward": 0}}
    source = {"env": {"wrappers": [wrapper]}}
    config = load_config(source, {"env.wrappers.0.parameters.min_reward": 1})
    assert config.env.wrappers[0].parameters == {"min_reward": 1}
    assert wrapper["parameters"] == {"min_reward": 0}


def test_what_the_first_gym_loop_had_is_led_to_its_place(workdir: Path) -> None:
    text = "agent: {policy: {}}\nloop: {class: 'gym_loop.loops.multienv_loop:MultiEnvLoop'}\n"
    first, second = findings(text, workdir)
    assert first.startswith("run.yaml:1: agent.policy: is no key any more: name the network by")
    assert second.endswith("; it is gym_loop.loops.vector_loop:VectorLoop now")


def test_an_episode_may_be_one_step_long() -> None:
    assert load_config({"env": {"max_episode_steps": 1}}).env.max_episode_steps == 1


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, None])
def test_seeds(seed: int | None) -> None:
    config = load_config({"seed": seed})
    assert config.seed == seed
    assert config.with_seed(7) == load_config({"seed": 7})


def test_public_entry() -> None:
    assert gym_loop.load_config is load_config


def test_every_finding_at_once_with_line_and_place(workdir: Path) -> None:
    found = findings(
        "agnet: {}\n"
        "agent:\n"
        "  class: gym_loop.agents.random_agent:RandomAgnet\n"
        "  paramters: {}\n"
        "env:\n"
        "  name: CartPole-v7\n"
        "  wrappers:\n"
        "  - class: gymnasium.wrappers:NoSuch\n"
        "  max_episode_steps: many\n"
        "loop:\n"
        "  parameters:\n"
        "    max_episods: 1\n"
        "    eval_episodes: many\n"
        "seed: -1\n",
        workdir,
    )
    expected = [
        "run.yaml:1: agnet: unknown; did you mean agent?",
        "run.yaml:3: agent.class: gym_loop.agents.random_agent has no class RandomAgnet;"
        " did you mean RandomAgent?",
        "run.yaml:4: agent.paramters: unknown; did you mean parameters?",
        "run.yaml:6: env.name: there is no environment CartPole-v7; use CartPole-v1",
        "run.yaml:8: env.wrappers.0.class: gymnasium.wrappers has no class NoSuch",
        "run.yaml:9: env.max_episode_steps: 'many' must be a number of steps, or null",
        "run.yaml:12: loop.parameters.max_episods: unknown; did you mean max_episodes?",
        "run.yaml:13: loop.parameters.eval_episodes: 'many' is str, but must be int",
        "run.yaml:14: seed: -1 is not a seed; use an integer from 0 to 4294967295, or null",
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            "hello\n",
            "run.yaml:1: must be a mapping (with the keys agent, env, loop, seed), not",
        ),
        (
            "- 1\n",
            "seed), not a list",
        ),
        (
            "agent: [1]\n",
            "agent: must be a mapping (with the keys class, parameters), not a list",
        ),
        ("loop: {parameters: [1]}\n", "loop.parameters: must be a mapping, not a list"),
        ("agent: {class: 3}\n", "agent.class: 3 is not a class string"),
        ("agent: {class: null}\n", "agent.class: None is not a class string"),
        ("env: [1]\n", "run.yaml:1: env: must be a mapping (with the keys imports,"),
        ("env: {name: 3}\n", "env.name: 3 is not an environment id"),
        ("env: {imports: nope}\n", "env.imports: 'nope' must be a list of modules or .py files"),
        ("env: {imports: [nope.py]}\n", "env.imports: there is no file nope.py"),
        ("env: {wrappers: {}}\n", None),
        ("env: {wrappers: 3}\n", "env.wrappers: 3 must be a list"),
        (
            "env: {wrappers: [3]}\n",
            "env.wrappers.0: 3 must be a class string, or a mapping",
        ),
        (
            "env: {wrappers: [{class: null, parameters: {}}]}\n",
            "env.wrappers.0.class: None is not a class string",
        ),
        (
            "env: {wrappers: [{class: 'gymnasium.wrappers:ClipReward', parameters: 3}]}\n",
            "env.wrappers.0.parameters: must be a mapping, not 3",
        ),
        ("env: {max_episode_steps: 0}\n", "env.max_episode_steps: 0 must be a number of steps"),
        ("seed: 4294967296\n", "run.yaml:1: seed: 4294967296 is not a seed"),
        ("seed: true\n", "seed: True is not a seed"),
        ("seed: 1.5\n", "seed: 1.5 is not a seed"),
        ("1: 2\n", "1: unknown; known are agent, env, loop, seed"),
        ("agent: {parameters: {seed: 3}}\n", "agent.parameters.seed: is given by the runner"),
        ("agent: {parameters: {n_envs: 3}}\n", "agent.parameters.n_envs: is given by the runner"),
        ("loop: {parameters: {seed: 3}}\n", "loop.parameters.seed: unknown"),
        (
            "agent: {class: 'gym_loop.loops.default_loop:DefaultLoop'}\n",
            "not an agent: it must derive from gym_loop.agents.BaseAgent",
        ),
        (
            "loop: {class: 'gym_loop.agents.random_agent:RandomAgent'}\n",
            "not a loop: it must derive from gym_loop.loops.BaseLoop",
        ),
        (
            "env: {wrappers: ['gym_loop.agents.random_agent:RandomAgent']}\n",
            "env.wrappers.0.class: gym_loop.agents.random_agent:RandomAgent is not a wrapper: it"
            " must derive from gymnasium.Wrapper",
        ),
    ],
)
def test_findings(text: str, finding: str | None, workdir: Path) -> None:
    if finding is None:
        (workdir / "run.yaml").write_text(text)
        assert load_config("run.yaml").env.wrappers == []
        return
    found = findings(text, workdir)
    assert any(finding in line for line in found), found


def test_every_wrapper_is_looked_at_and_each_finding_said_once(workdir: Path) -> None:
    text = (
        "env:\n  wrappers:\n  - {clas: 'x:Y'}\n  - {class: 4}\n"
        "  - {class: 'gymnasium.wrappers:ClipRewrd', paramters: {}}\n"
    )
    assert findings(text, workdir) == [
        "run.yaml:3: env.wrappers.0.clas: unknown; did you mean class?",
        "run.yaml:4: env.wrappers.1.class: 4 is not a class string (package.module:Class)",
        "run.yaml:5: env.wrappers.2.paramters: unknown; did you mean parameters?",
        "run.yaml:5: env.wrappers.2.class: gymnasium.wrappers has no class ClipRewrd;"
        " did you mean ClipReward?",
    ]


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("", "".join(f"key_{index}: 1\n" for index in range(3000))),
        (
            "agent.parameters.",
            "agent:\n  parameters:\n" + "".join(f"    key_{index}: 1\n" for index in range(3000)),
        ),
    ],
)
def test_very_many_unknown_keys_are_counted(
    place: str, text: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []

    def compare(name: str, known: Any) -> list[str]:
        compared.append(name)
        return []

    monkeypatch.setattr("gym_loop.schema.suggestions.difflib.get_close_matches", compare)
    found = findings(text, workdir)
    assert len(found) == len(compared) + 1 < 30
    assert f"{place}key_0: unknown" in found[0]
    assert "2,979 more" in found[-1]


def test_very_many_findings_are_counted() -> None:
    wrappers = [{"class": "nowhere:Nothing"}] * 150
    with pytest.raises(ConfigError) as error:
        load_config({"env": {"wrappers": wrappers}})
    assert len(error.value.findings) == 101
    assert str(error.value).endswith("50 more like these")


def test_a_file_that_is_too_large(workdir: Path) -> None:
    (workdir / "large.yaml").write_text("a: " + "lorem ipsum " * 900_000)
    with pytest.raises(ConfigError, match="more than 1,000,000 bytes"):
        load_config("large.yaml")
    with pytest.raises(ConfigError, match="more than 1,000,000 bytes"):
        load_config("/dev/zero")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_an_empty_file_is_refused(text: str, workdir: Path) -> None:
    assert "create-default" in findings(text, workdir)[0]


def test_whole_floats_are_integers(workdir: Path) -> None:
    (workdir / "run.yaml").write_text("env: {max_episode_steps: 1e3}\nseed: 5e0\n")
    config = load_config("run.yaml")
    assert (config.env.max_episode_steps, config.seed) == (1000, 5)
    assert isinstance(config.env.max_episode_steps, int)
    assert "max_episode_steps" in findings("env: {max_episode_steps: 1.5}\n", workdir)[0]
    assert "max_episode_steps" in findings("env: {max_episode_steps: true}\n", workdir)[0]


def test_not_a_file(workdir: Path) -> None:
    remedy = "make one with gym-loop create-default"
    with pytest.raises(ConfigError, match=rf"^nope.yaml: there is no such file; {remedy}$"):
        load_config("nope.yaml")
    with pytest.raises(ConfigError, match=rf"^{workdir}: is a directory, not a file$"):
        load_config(workdir)
    (workdir / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigError, match=r"^binary.yaml: cannot be read: byte 0 is not UTF-8"):
        load_config("binary.yaml")


class TestOverrides:
    def test_values_in_yaml_syntax(self, workdir: Path) -> None:
        (workdir / "run.yaml").write_text("loop:\n  parameters:\n    max_episodes: 3\n")
        config = load_config(
            "run.yaml",
            [
                "loop.parameters.max_episodes=1e1",
                "loop.parameters.record=true",
                "loop.parameters.max_steps=null",
                "env.parameters.g=9.81",
                "env.imports=[]",
                "seed=5",
                "loop.parameters.logdir=a=b",
            ],
        )
        parameters = config.loop.parameters
        assert (parameters["max_episodes"], parameters["record"]) == (10, True)
        assert parameters["logdir"] == "a=b"
        assert config.env.parameters == {"g": 9.81}
        assert config.seed == 5

    def test_of_an_empty_file(self, workdir: Path) -> None:
        (workdir / "run.yaml").write_text("# all defaults\n")
        assert load_config("run.yaml", ["seed=5"]).seed == 5

    def test_of_an_empty_section(self, workdir: Path) -> None:
        (workdir / "run.yaml").write_text("loop:\nenv:\n  parameters:\n")
        config = load_config("run.yaml", ["loop.parameters.max_episodes=2", "env.parameters.g=1"])
        assert config.loop.parameters["max_episodes"] == 2
        assert config.env.parameters == {"g": 1}

    def test_of_one_wrapper_in_the_list(self, workdir: Path) -> None:
        (workdir / "run.yaml").write_text(
            "env:\n  wrappers:\n  - class: gymnasium.wrappers:FrameStackObservation\n"
            "    parameters: {stack_size: 2}\n"
        )
        config = load_config("run.yaml", ["env.wrappers.0.parameters.stack_size=4"])
        assert config.env.wrappers[0].parameters == {"stack_size": 4}
        with pytest.raises(ConfigError, match=r"--set env.wrappers.3.+there are 1"):
            load_config("run.yaml", ["env.wrappers.3.parameters.stack_size=4"])

    def test_of_a_wrapper_that_is_only_named(self, workdir: Path) -> None:
        text = "env:\n  wrappers: ['gymnasium.wrappers:ClipReward']\n"
        (workdir / "run.yaml").write_text(text)
        config = load_config("run.yaml", ["env.wrappers.0.parameters.min_reward=1"])
        assert config.env.wrappers == [
            WrapperSpec("gymnasium.wrappers:ClipReward", {"min_reward": 1})
        ]

    @pytest.mark.parametrize(
        ("text", "finding"),
        [
            ("seed", "--set seed: write --set dotted.key=value"),
            ("=3", "--set =3: write --set dotted.key=value"),
            ("seed=[1", "--set seed=[1: this is not valid YAML"),
            ("seed=x", "--set seed: seed: 'x' is not a seed"),
            ("loop.parameters.max_episods=1", "max_episods: unknown; did you mean max_episodes?"),
            ("lop.x=1", "--set lop.x: lop: unknown; did you mean loop?"),
            ("loop.parameters.max_episodes=x", "--set loop.parameters.max_episodes: loop.param"),
            (
                "agent=3",
                "--set agent: agent: must be a mapping (with the keys class,",
            ),
            ("env.name=os.system('x')", "there is no environment os.system('x')"),
        ],
    )
    def test_findings(self, text: str, finding: str, workdir: Path) -> None:
        found = findings("env: {name: CartPole-v1}\n", workdir, text)
        assert any(finding in line for line in found), found

    def test_what_stands_in_the_file_is_said_of_the_file(self, workdir: Path) -> None:
        found = findings("agent:\n  paramters: {a: 1}\n", workdir, "agent.paramters.b=2", "seed=x")
        assert found == [
            "--set seed: seed: 'x' is not a seed; use an integer from 0 to 4294967295, or null",
            "run.yaml:2: agent.paramters: unknown; did you mean parameters?",
        ]

    def test_an_option_is_called_by_its_name(self) -> None:
        with pytest.raises(ConfigError, match=r"^--seed: seed: 'x' is not a seed"):
            load_config({}, {"seed": "x"}, options={"seed": "--seed"})

    def test_a_broken_file_stays_broken(self, workdir: Path) -> None:
        assert "not a list" in findings("- 1\n", workdir, "seed=5")[0]


def test_to_yaml_reads_back_the_same(workdir: Path) -> None:
    text = default_config(env="CartPole-v1").to_yaml(comments=True)
    (workdir / "run.yaml").write_text(text)
    assert load_config("run.yaml").as_dict() == default_config(env="CartPole-v1").as_dict()
    plain = default_config(env="CartPole-v1").to_yaml()
    assert "#" not in plain
    assert read_yaml(plain).data == read_yaml(text).data


def test_every_parameter_has_its_comment_above() -> None:
    config = default_config(agent="gym_loop.agents.sac:SAC")
    lines = config.to_yaml(comments=True).splitlines()
    for name in (*config.agent.parameters, *config.loop.parameters):
        (at,) = [number for number, line in enumerate(lines) if line.startswith(f"    {name}:")]
        assert lines[at - 1].startswith("    # "), name
    parameters = [
        line.split(":")[0].strip() for line in lines if line.startswith("    ") and ":" in line
    ]
    names = [name for name in parameters if name in DefaultLoop.get_default_parameters()]
    assert names == sorted(names)


def test_portable_config_is_read_anywhere(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "mine.py").write_text(
        "import gymnasium\nfrom gym_loop.agents import BaseAgent\n"
        "from gym_loop.loops.default_loop import DefaultLoop\n"
        "class A(BaseAgent): pass\nclass L(DefaultLoop): pass\nclass W(gymnasium.Wrapper): pass\n"
    )
    (workdir / "run.yaml").write_text(
        "agent: {class: 'mine.py:A'}\nloop: {class: 'mine.py:L'}\n"
        "env: {imports: [mine.py, gymnasium], parameters: {track: mine.py},"
        " wrappers: [{class: 'mine.py:W', parameters: {table: mine.py}}]}\n"
    )
    config = load_config("run.yaml")
    assert config.portable().agent.cls is config.agent.cls
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    (elsewhere / "run.yaml").write_text(config.portable().to_yaml())
    again = load_config("run.yaml")
    assert again.agent.class_name == f"{workdir / 'mine.py'}:A"
    assert again.agent.cls is config.agent.cls
    assert again.env.imports == [str(workdir / "mine.py"), "gymnasium"]
    assert again.env.parameters == {"track": str(workdir / "mine.py")}
    assert again.env.wrappers[0].class_name == f"{workdir / 'mine.py'}:W"
    assert again.env.wrappers[0].parameters == {"table": str(workdir / "mine.py")}
    # and a file is found beside the run file, from any working directory
    assert load_config(workdir / "run.yaml").agent.cls is config.agent.cls


def test_a_portable_config_has_the_whole_path_of_what_its_environment_is_named_by(
    workdir: Path,
) -> None:
    (workdir / "own.py").write_text(
        "import gymnasium\nfrom gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Own-v0', CartPoleEnv)\n"
    )
    config = load_config({"env": {"name": "own.py:Own-v0"}})
    assert config.portable().env.name == f"{workdir / 'own.py'}:Own-v0"


def test_flatten() -> None:
    nested = {"a": {"b": 1, "c": {}}, "d": [{"e": 1}], "f": None}
    assert flatten(nested) == {"a.b": 1, "a.c": {}, "d": [{"e": 1}], "f": None}


def test_value_at() -> None:
    assert value_at({"a": {"b": {"c": 1}}}, "a.b.c") == 1


def test_paths_are_taken_as_text(workdir: Path) -> None:
    config = load_config({}, {"loop.parameters.logdir": workdir / "logs"})
    assert config.loop.parameters["logdir"] == str(workdir / "logs")
    source = {"loop": {"parameters": {"logdir": workdir / "logs"}}}
    assert load_config(source).loop.parameters["logdir"] == str(workdir / "logs")


def test_values_that_yaml_cannot_hold_are_refused() -> None:
    said = r"^env.parameters.thing: <object object at .+> can't be written in a run file$"
    with pytest.raises(ConfigError, match=said):
        load_config({"env": {"parameters": {"thing": object()}}})
