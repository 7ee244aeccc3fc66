"""Environments are made with parameters, limits and wrappers, or refused in words."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_loop.envs.making import (
    EnvSpec,
    WrapperSpec,
    check_registered,
    check_window,
    close_quietly,
    frame_source,
    import_env_modules,
    make_env,
    make_visible_env,
)
from gym_loop.envs.vector import make_vector_env
from gym_loop.errors import (
    EnvPackageMissingError,
    EnvParametersError,
    EnvUnknownError,
    ModuleBrokenError,
    ModuleMissingError,
    RenderError,
)

STACK = WrapperSpec("gymnasium.wrappers:FrameStackObservation", {"stack_size": 3})


class Plain(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, size: int = 1, render_mode: str | None = None) -> None:
        self.size = size

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict]:
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        return 0, 0.0, False, False, {}


def needs_a_package() -> gymnasium.Env:
    import no_such_package_at_all  # type: ignore[import-not-found]  # noqa: F401

    return Plain()


def needs_another() -> gymnasium.Env:
    raise gymnasium.error.DependencyNotInstalled('it is missing, run `pip install "thing"`')


@pytest.fixture(autouse=True)
def registered() -> None:
    gymnasium.register("Plain-v0", Plain)
    gymnasium.register("NeedsModule-v0", needs_a_package)
    gymnasium.register("NeedsPackage-v0", needs_another)
    gymnasium.register("NoEntry-v0", "no_such_package_at_all:Env")


def test_parameters_limit_and_wrappers() -> None:
    spec = EnvSpec(
        "CartPole-v1",
        parameters={"sutton_barto_reward": True},
        wrappers=[STACK, WrapperSpec("gymnasium.wrappers:FlattenObservation")],
        max_episode_steps=3,
    )
    env = make_env(spec)
    assert env.unwrapped._sutton_barto_reward is True
    assert isinstance(env, gymnasium.wrappers.FlattenObservation)  # the last one is outermost
    assert env.observation_space.shape == (12,)
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (False, True)]


def test_limit_of_the_registry_stays_by_default() -> None:
    assert make_env(EnvSpec("CartPole-v1")).spec.max_episode_steps == 500


def test_imports_register(workdir: Path) -> None:
    (workdir / "my_envs.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v3', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    spec = EnvSpec("Mine-v3", imports=["my_envs.py"])
    with pytest.raises(EnvUnknownError):
        check_registered(spec)
    make_env(spec).close()


def test_imports_that_fail(workdir: Path) -> None:
    (workdir / "bad_envs.py").write_text("raise KeyError('on purpose')\n")
    with pytest.raises(ModuleBrokenError, match="on purpose"):
        import_env_modules(EnvSpec("X-v0", imports=["bad_envs.py"]))
    with pytest.raises(ModuleMissingError, match="no_such_module_at_all"):
        import_env_modules(EnvSpec("X-v0", imports=["no_such_module_at_all"]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPol-v1", "there is no environment CartPol-v1; did you mean CartPole-v1?"),
        ("cartpole-v1", "did you mean CartPole-v1?"),
        ("CartPole-v9", "there is no environment CartPole-v9; use CartPole-v1"),
        ("Pendulum-v0", "there is no environment Pendulum-v0; use Pendulum-v1"),
        ("CartPole", "use CartPole-v1"),
        ("Pendulm", "did you mean Pendulum-v1?"),
        ("Foo-v0", "there is no environment Foo-v0; name the module that registers it"),
        ("nowhere/Thing-v0", "nothing has registered the namespace nowhere; name the module that"),
        ("Qqqqqqqqqqq-v0", "name the module that registers it in env.imports"),
        ("no_such_module_at_all:Thing-v0", "name the module that registers it in env.imports"),
        ("not a name!", "there is no environment not a name!"),
        ("", "there is no environment"),
    ],
)
def test_unknown(name: str, message: str) -> None:
    with pytest.raises(EnvUnknownError) as error:
        check_registered(EnvSpec(name))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NeedsModule-v0", "pip install no_such_package_at_all"),
        ("NeedsPackage-v0", 'pip install "thing"'),
        ("NoEntry-v0", "pip install no_such_package_at_all"),
    ],
)
def test_missing_package(name: str, message: str) -> None:
    with pytest.raises(EnvPackageMissingError) as error:
        make_env(EnvSpec(name))
    assert message in str(error.value)


def test_missing_ale(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(EnvPackageMissingError, match=r"ALE/Pong-v5 needs .* pip install ale-py"):
        import_env_modules(EnvSpec("ALE/Pong-v5"))


def test_refused_parameters() -> None:
    with pytest.raises(EnvParametersError) as error:
        make_env(EnvSpec("Plain-v0", parameters={"siez": 3}))
    assert "env.parameters: Plain-v0 refused {'siez': 3}: TypeError" in str(error.value)
    assert "(it takes size)" in str(error.value)
    with pytest.raises(EnvParametersError, match=r"it takes .*sutton_barto_reward"):
        make_env(EnvSpec("CartPole-v1", parameters={"size": 3}))
    with pytest.raises(EnvParametersError, match="FrozenLake-v1 refused"):
        make_env(EnvSpec("FrozenLake-v1", parameters={"map_name": "7x7"}))


def test_refused_wrapper_parameters() -> None:
    wrapper = WrapperSpec("gymnasium.wrappers:FrameStackObservation", {"size": 3})
    with pytest.raises(EnvParametersError) as error:
        make_env(EnvSpec("Plain-v0", wrappers=[wrapper]))
    message = (
        "env.wrappers: gymnasium.wrappers:FrameStackObservation refused {'size': 3}: TypeError"
    )
    assert message in str(error.value)
    assert "(it takes stack_size, padding_type)" in str(error.value)


@pytest.mark.parametrize(
    "wish", [{"render": True}, {"record": True}, {"render": True, "record": True}]
)
def test_render_mode_that_is_missing(wish: dict[str, bool]) -> None:
    with pytest.raises(
        RenderError, match=r"Plain-v0 cannot give (a window|frames) .*set render and re"
    ):
        make_visible_env(EnvSpec("Plain-v0"), **wish)


def test_frames() -> None:
    env = make_visible_env(EnvSpec("CartPole-v1"), record=True)
    env.reset(seed=0)
    assert frame_source(env) is env
    assert np.asarray(env.render()).shape == (400, 600, 3)
    env.close()
    assert make_visible_env(EnvSpec("CartPole-v1")).render_mode is None


def test_window_and_frames_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = make_visible_env(EnvSpec("CartPole-v1"), render=True, record=True)
    check_window(env, "CartPole-v1")
    env.step(0)
    assert np.asarray(frame_source(env).render()).shape == (400, 600, 3)
    env.close()


def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    env = make_visible_env(EnvSpec("CartPole-v1"), render=True)
    with pytest.raises(RenderError, match="CartPole-v1 cannot open a window here"):
        check_window(env, "CartPole-v1")
    close_quietly(env)


def test_close_quietly() -> None:
    class Broken:
        closed = False

        def close(self) -> None:
            self.closed = True
            raise RuntimeError("on purpose")

    broken = Broken()
    close_quietly(broken)
    assert broken.closed


def test_a_window_without_a_display_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    spec = EnvSpec("Pendulum-v1")
    env = make_visible_env(spec, render=True)
    with pytest.raises(RenderError, match="cannot open a window here"):
        check_window(env, spec.name)
    env.close()


@pytest.mark.parametrize(
    "name", ["gymnasium:CartPole-v1", "named_envs:Named-v0", "named_envs.py:Named-v0"]
)
def test_the_module_that_registers_an_id_may_stand_before_it(
    name: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "named_envs.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('Named-v0', CartPoleEnv, max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(workdir)
    spec = EnvSpec(name)
    import_env_modules(spec)
    check_registered(spec)
    assert make_env(spec).spec.id == name.rpartition(":")[2]
    assert make_vector_env(spec, 2).num_envs == 2


def test_the_module_before_an_id_is_missing() -> None:
    with pytest.raises(ModuleMissingError, match="no_such_module"):
        make_env(EnvSpec("no_such_module:CartPole-v1"))
    with pytest.raises(EnvUnknownError, match="CartPole-v9; use CartPole-v1"):
        make_env(EnvSpec("gymnasium:CartPole-v9"))


def test_what_is_raised_without_words_is_shown(workdir: Path) -> None:
    (workdir / "bare.py").write_text(
        "import gymnasium\n"
        "class Bare(gymnasium.Wrapper):\n"
        "    def __init__(self, env):\n"
        "        assert env.action_space is None\n"
        "class BareEnv(gymnasium.Env):\n"
        "    def __init__(self):\n"
        "        assert 1 == 2\n"
        "gymnasium.register('Bare-v0', BareEnv)\n"
    )
    with pytest.raises(EnvParametersError, match=r"refused \{\}: .+ is None \(bare.py, line 4"):
        make_env(EnvSpec("CartPole-v1", wrappers=[WrapperSpec("bare.py:Bare")]))
    with pytest.raises(EnvParametersError, match=r"Bare-v0 could .+ 1 == 2 \(bare.py, line 7"):
        make_env(EnvSpec("Bare-v0", imports=["bare.py"]))


def test_a_class_string_that_makes_no_copies(workdir: Path) -> None:
    (workdir / "single.py").write_text(
        "import gymnasium\n"
        "class Single(gymnasium.Env):\n"
        "    def __init__(self, size=3):\n"
        "        pass\n"
    )
    with pytest.raises(EnvParametersError, match=r"takes no num_envs.*register it"):
        make_vector_env(EnvSpec("single.py:Single"), 2)
