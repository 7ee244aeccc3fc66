"""A section of an rl-baselines3-zoo hyperparameter file as a run file of ours.

What the section leaves out takes stable-baselines3's default (2.3 or later) where ours is another
one, so that the published setting is what runs. Nothing of the file is executed: ``dict(...)`` is
read as a literal, and no class that it names is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gym_loop.config.run_file import load_config
from gym_loop.errors import ConfigError, Finding, UsageError
from gym_loop.schema.printable import printable_line
from gym_loop.schema.suggestions import did_you_mean
from gym_loop.schema.yaml_file import Document, read_yaml_file

LONGEST_TEXT = 2_000  # characters of a dict(...) that is read as a literal
LONGEST_SHOWN = 120  # characters of a value that is named
# What stable-baselines3 has where our default is another one.
DEFAULTS: dict[str, dict[str, Any]] = {
    "ppo": {"batch_size": 64, "learning_rate": 3e-4, "n_steps": 2048},
    "dqn": {
        "batch_size": 32,
        "buffer_size": 1_000_000,
        "exploration_fraction": 0.1,
        "learning_rate": 1e-4,
        "learning_starts": 100,
        "target_update_interval": 10_000,
    },
    "sac": {"gradient_steps": 1},
    "td3": {"gradient_steps": 1},
}
# The same of what it has no name for: its DQN is not double, its TD3 has no noise by itself.
UNNAMED: dict[str, dict[str, Any]] = {
    "ppo": {},
    "dqn": {"double": False, "network_parameters": {"activation": "relu", "init": "uniform"}},
    "sac": {},
    "td3": {"network_parameters": {"hidden": [400, 300]}, "noise_std": 0.0},
}
# Names that mean the same on both sides; for others see `_METHODS`.
_OFF_POLICY = "batch_size buffer_size gamma gradient_steps learning_starts tau"
SAME = {
    "ppo": "batch_size ent_coef gae_lambda gamma max_grad_norm n_epochs n_steps"
    " normalize_advantage target_kl vf_coef",
    "dqn": f"{_OFF_POLICY} exploration_final_eps exploration_initial_eps max_grad_norm n_steps"
    " target_update_interval",
    "sac": f"{_OFF_POLICY} ent_coef n_steps sde_sample_freq target_entropy use_sde",
    "td3": f"{_OFF_POLICY} n_steps policy_delay target_noise_clip target_policy_noise",
}
SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf")
ATARI = "stable_baselines3.common.atari_wrappers.AtariWrapper"
# Of Gymnasium, which call the same things the same as the old Gym did.
WRAPPERS = "ClipAction FlattenObservation GrayscaleObservation RescaleAction ResizeObservation"


def zoo_run_file(
    path: Path,
    env: str | None,
    algorithm: str | None = None,
    imports: Sequence[str] = (),
    others: Mapping[str, object] | None = None,
) -> tuple[str, list[str]]:
    """Write a section of a hyperparameter file as a run file.

    Args:
        path: the file, ``ppo.yml`` say.
        env: id of the environment, which names the section too.
        algorithm: ``ppo``, ``dqn``, ``sac`` or ``td3``; None for what the file's name says.
        imports: modules or ``.py`` files that register the environment.
        others: options that name a part of a run file; all must be None, for the section does.

    Returns:
        The run file, and what could not be carried over, one sentence each.

    Raises:
        UsageError: the algorithm is none of ours, the environment is not named, or another option
            is given.
        ConfigError: the file cannot be read, there is no such section or environment, or a value
            is wrong.
    """
    if given := [option for option, value in (others or {}).items() if value is not None]:
        raise UsageError(f"--zoo names the whole run file: leave out {' and '.join(given)}")
    if env is None:
        raise UsageError("--zoo needs --env, which names the section of the file")
    name = algorithm or path.stem
    if name not in DEFAULTS:
        raise UsageError(
            f"--zoo {path}: {name} is none of the algorithms {', '.join(DEFAULTS)}; the file is"
            " named after one, as in the zoo, or --agent says which"
        )
    document = read_yaml_file(path)
    section = _Section(name, env, document, _section_of(document, env))
    content = section.convert()
    content["env"]["imports"] = list(imports)
    try:
        config = load_config(content)
    except ConfigError as error:
        raise ConfigError([_placed(one, section) for one in error.findings]) from None
    notes = [f"{key}: {_shown(value)} ({why})" for key, value, why in section.left_out]
    header = [f"From rl-baselines3-zoo, {path.name}, {_shown(section.name)}, for {_shown(env)}."]
    if notes:
        header += ["Not carried over:", *(f"- {note}" for note in notes)]
    lines = [f"# {printable_line(line)}" for line in header]
    return "\n".join([*lines, "", config.to_yaml(comments=True)]), notes


def _section_of(document: Document, env: str) -> str:
    """The section for an environment: of its name, of another version of it, or ``atari``."""
    sections = document.data
    if not isinstance(sections, dict):
        raise ConfigError([Finding("", "is no mapping of environments", document.source)])
    names = [name for name, content in sections.items() if isinstance(name, str)]
    base = env.rpartition("-v")[0] or env
    versions = [name for name in names if name.rpartition("-v")[0] == base]
    is_atari = env.startswith("ALE/") or "NoFrameskip" in env
    for name in (env, *sorted(versions, reverse=True), *(["atari"] if is_atari else [])):
        if name in names:
            if not isinstance(sections[name], dict):
                line = document.line((name,))
                raise ConfigError([Finding(name, "is no mapping", document.source, line)])
            return name
    problem = f"there is no section {env}{did_you_mean(env, names)}"
    raise ConfigError([Finding("", problem, document.source)])


def _placed(finding: Finding, section: _Section) -> Finding:
    """A finding about the run file as one about the section that it was made of."""
    for key in finding.place.split(".")[2:3]:
        if (section.name, key) in section.document.lines:
            line = section.document.line((section.name, key))
            return Finding(f"{section.name}.{key}", finding.problem, section.document.source, line)
    return finding


class _Section:
    """Turns a section into the content of a run file, noting what is left out."""

    def __init__(self, algorithm: str, env: str, document: Document, name: str) -> None:
        self.algorithm, self.env, self.document, self.name = algorithm, env, document, name
        self.left_out: list[tuple[str, Any, str]] = []  # key, value, why
        self.agent: dict[str, Any] = dict(UNNAMED[algorithm])
        self.env_section: dict[str, Any] = {"name": env, "parameters": {}, "wrappers": []}
        given = {str(key): value for key, value in document.data[name].items()}
        self.values = {**DEFAULTS[algorithm], **given}
        self.steps = self.count("n_timesteps")
        self.n_envs = self.count("n_envs", 1)
        self.is_cnn = given.get("policy") == "CnnPolicy" and algorithm in ("ppo", "dqn")

    def convert(self) -> dict[str, Any]:
        """The content of the run file."""
        same = SAME[self.algorithm].split()
        # The frames of wrapped observations are stacked, wherever the section says so.
        for key in sorted(self.values, key=lambda key: key == "frame_stack"):
            value = self.values[key]
            if key in same:
                self.agent[key] = value
            elif key == "learning_rate" or (key in SCHEDULES and self.algorithm == "ppo"):
                self.agent[key] = self.schedule(key, value)
            elif key in _METHODS and self.algorithm in _METHODS[key][1]:
                _METHODS[key][0](self, value)
            elif key not in ("n_timesteps", "n_envs", "noise_std"):
                self.leave_out(key, value, "there is nothing like it here")
        if self.is_cnn:
            self.agent["network"] = "gym_loop.nn.torch_network:NatureCNN"
            self.agent.pop("network_parameters", None)
        loop: dict[str, Any] = {"max_episodes": None, "max_steps": self.steps}
        kind = "default_loop:DefaultLoop"
        if self.n_envs > 1:
            loop["n_envs"], kind = self.n_envs, "vector_loop:VectorLoop"
        agent = f"gym_loop.agents.{self.algorithm}:{self.algorithm.upper()}"
        return {
            "agent": {"class": agent, "parameters": self.agent},
            "env": self.env_section,
            "loop": {"class": f"gym_loop.loops.{kind}", "parameters": loop},
        }

    def leave_out(self, key: str, value: Any, why: str) -> None:
        self.left_out.append((key if key.isidentifier() else _shown(key), value, why))

    def wrong(self, key: str, problem: str) -> ConfigError:
        line = self.document.line((self.name, key))
        return ConfigError([Finding(f"{self.name}.{key}", problem, self.document.source, line)])

    def count(self, key: str, default: int | None = None) -> int:
        value = self.values.get(key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        if type(value) not in (int, float) or not 1 <= value <= 1e18 or value != int(value):
            raise self.wrong(key, f"{_shown(value)} must be a whole number from 1 on")
        return int(value)

    def schedule(self, key: str, value: Any) -> Any:
        """``lin_0.001`` falls to 0 in the whole training; below 0 the zoo has none."""
        if isinstance(value, str):
            kind, _, first = value.partition("_")
            try:
                return {"linear": [float(first if kind == "lin" else ""), 0.0], "steps": self.steps}
            except ValueError:
                raise self.wrong(key, f"{_shown(value)} is no number and no lin_0.001") from None
        if key == "clip_range_vf" and type(value) in (int, float) and value < 0:
            return None
        return value

    def mapping(self, key: str, value: Any) -> Mapping[str, Any]:
        """A mapping, or a text such as ``dict(net_arch=[64, 64], activation_fn=nn.ReLU)``."""
        if isinstance(value, str):
            try:
                value = literal(value)
            except ValueError as error:
                self.leave_out(key, value, str(error))
                return {}
        if not isinstance(value, Mapping):
            self.leave_out(key, value, "it is no mapping")
            return {}
        return {str(name): one for name, one in value.items()}

    # -- the keys that have another name or form here ------------------------------------------

    def _take_policy(self, value: Any) -> None:
        if not self.is_cnn and value not in ("MlpPolicy", "MultiInputPolicy"):
            self.leave_out("policy", value, "the network is the MLP of gym-loop")

    def _take_policy_kwargs(self, value: Any) -> None:
        for key, one in self.mapping("policy_kwargs", value).items():
            last = str(one).rpartition(".")[2]
            if key == "log_std_init" and self.algorithm in ("ppo", "sac"):
                self.agent["log_std_init"] = one
            elif self.is_cnn:
                self.leave_out(f"policy_kwargs.{key}", one, "NatureCNN is as it is")
            elif key == "net_arch":
                self._take_net_arch(one)
            elif key == "activation_fn" and last in ("Tanh", "ReLU"):
                self._network(activation=last.lower())
            elif key == "ortho_init" and isinstance(one, bool):
                self._network(init="orthogonal" if one else "uniform")
            else:
                self.leave_out(f"policy_kwargs.{key}", one, "there is nothing like it here")

    def _network(self, **parameters: Any) -> None:
        self.agent["network_parameters"] = self.agent.get("network_parameters", {}) | parameters

    def _take_net_arch(self, value: Any) -> None:
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
            (value,) = value  # as older versions have it
        layers = value if isinstance(value, dict) else {"pi": value}
        actor = layers.get("pi")
        critic = layers.get("vf" if self.algorithm == "ppo" else "qf", actor)
        sizes = [*actor, *critic] if isinstance(actor, list) and isinstance(critic, list) else [0]
        if not all(type(size) is int and size > 0 for size in sizes):
            self.leave_out("policy_kwargs.net_arch", value, "hidden is a list of numbers of units")
            return
        self._network(hidden=actor)
        if actor != critic and self.algorithm == "ppo":
            self.leave_out("policy_kwargs.net_arch.vf", critic, "it has the layers of the policy")
        elif actor != critic:
            self.agent["critic_parameters"] = {"hidden": critic}

    def _take_normalize(self, value: Any) -> None:
        if value is True or value is False:
            chosen: Mapping[str, Any] = {"norm_obs": value, "norm_reward": value}
        else:
            chosen = {"norm_obs": True, "norm_reward": True, **self.mapping("normalize", value)}
        for key, one in chosen.items():
            if self.algorithm == "ppo" and key in ("norm_obs", "norm_reward"):
                self.agent[key] = one
            elif one is not False:
                self.leave_out(f"normalize.{key}", one, "PPO alone has norm_obs and norm_reward")

    def _take_exploration_fraction(self, value: Any) -> None:
        if type(value) not in (int, float) or not 0 <= value <= 1:
            raise self.wrong("exploration_fraction", f"{_shown(value)} must be from 0 to 1")
        self.agent["exploration_steps"] = max(1, round(value * self.steps))

    def _take_noise_type(self, value: Any) -> None:
        if self.algorithm == "td3" and value in ("normal", "ornstein-uhlenbeck"):
            if "noise_std" not in self.values:
                raise self.wrong("noise_type", "noise_std is missing beside it")
            self.agent |= {"noise_type": value, "noise_std": self.values["noise_std"]}
        elif value is not None:
            self.leave_out("noise_type", value, "TD3 alone has noise: normal, ornstein-uhlenbeck")

    def _take_train_freq(self, value: Any) -> None:
        frequency, unit = value if isinstance(value, list) and len(value) == 2 else (value, "step")
        if unit == "step":
            self.agent["train_freq"] = frequency
        else:
            self.agent["train_freq"] = 1
            self.leave_out("train_freq", value, "steps are counted, not episodes: train_freq is 1")

    def _take_target_update_interval(self, value: Any) -> None:
        if value != 1:  # of SAC, where DQN has it as it is
            self.leave_out("target_update_interval", value, "targets move with every update")

    def _take_env_kwargs(self, value: Any) -> None:
        self.env_section["parameters"] |= self.mapping("env_kwargs", value)

    def _take_frame_stack(self, value: Any) -> None:
        if value not in (None, 1):
            self._wrap("FrameStackObservation", {"stack_size": value})

    def _take_env_wrapper(self, value: Any) -> None:
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            pair = isinstance(one, dict) and len(one) == 1
            name, parameters = next(iter(one.items())) if pair else (one, {})
            parameters = parameters if isinstance(parameters, dict) else {}
            package, _, last = str(name).replace("GrayScale", "Grayscale").rpartition(".")
            is_gymnasium = package.startswith(("gym.wrappers", "gymnasium.wrappers"))
            if name == ATARI:
                self._take_atari(dict(parameters))
            elif last == "TimeLimit" and set(parameters) == {"max_episode_steps"}:
                self.env_section["max_episode_steps"] = parameters["max_episode_steps"]
            elif is_gymnasium and last in WRAPPERS.split():
                if isinstance(parameters.get("shape"), int):
                    parameters = {**parameters, "shape": [parameters["shape"]] * 2}
                self._wrap(last, parameters)
            else:
                why = "name it in env.wrappers as {class: package.module:Class, parameters: {...}}"
                self.leave_out("env_wrapper", one, why)

    def _take_atari(self, given: dict[str, Any]) -> None:
        """Preprocessing of Atari games; gymnasium has it in two wrappers."""
        clip, sticky = given.pop("clip_reward", True), given.pop("action_repeat_probability", 0.0)
        self._wrap("AtariPreprocessing", {"terminal_on_life_loss": True, **given})
        if clip:
            self._wrap("ClipReward", {"max_reward": 1.0, "min_reward": -1.0})
        if self.env.startswith("ALE/"):
            own = {"frameskip": 1, "repeat_action_probability": sticky}
            self.env_section["parameters"] |= own
        why = "nobody presses it; and returns are those of clipped rewards until a life is lost"
        self.leave_out("env_wrapper.AtariWrapper", "FIRE after a reset", why)

    def _wrap(self, name: str, parameters: dict[str, Any]) -> None:
        self.env_section["wrappers"].append(
            {"class": f"gymnasium.wrappers:{name}", "parameters": parameters}
        )


_METHODS: dict[str, tuple[Callable[[_Section, Any], None], str]] = {  # and for which algorithms
    "env_kwargs": (_Section._take_env_kwargs, "ppo dqn sac td3"),
    "env_wrapper": (_Section._take_env_wrapper, "ppo dqn sac td3"),
    "exploration_fraction": (_Section._take_exploration_fraction, "dqn"),
    "frame_stack": (_Section._take_frame_stack, "ppo dqn sac td3"),
    "noise_type": (_Section._take_noise_type, "dqn sac td3"),
    "normalize": (_Section._take_normalize, "ppo dqn sac td3"),
    "policy": (_Section._take_policy, "ppo dqn sac td3"),
    "policy_kwargs": (_Section._take_policy_kwargs, "ppo dqn sac td3"),
    "target_update_interval": (_Section._take_target_update_interval, "sac td3"),
    "train_freq": (_Section._take_train_freq, "dqn sac td3"),
}


def literal(text: str) -> Any:
    """Read ``dict(a=1, b=[2, nn.ReLU])``; a dotted name becomes text, nothing is called.

    Raises:
        ValueError: there is anything else in it.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"it is longer than {LONGEST_TEXT:,} characters")
    try:
        return _value_of(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("it is no dict(...) of plain values") from None


def _value_of(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            if any(one.arg is None for one in keywords):
                raise ValueError("it is no dict(...) of plain values: ** stands in it")
            return {one.arg: _value_of(one.value) for one in keywords}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {str(_value_of(key)): _value_of(value) for key, value in pairs if key}
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_value_of(item) for item in items]
        case ast.Constant(value=bool() | int() | float() | str() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Name() | ast.Attribute():
            return ast.unparse(node)
    raise ValueError(f"it is no dict(...) of plain values: {type(node).__name__} stands in it")


def _shown(value: Any) -> str:
    """A value on one line, not too long."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."
