"""Which environments clients get: never code of their choice."""

import logging
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from gym_loop.errors import ClassLoadError, EnvUnknownError
from gym_loop.serve.catalogue import Catalogue
from gym_loop.wire.problems import EnvFailed, MalformedEnvId, UnknownEnvId
from tests.serve import bad_envs


def made(env_id: object, catalogue: Catalogue | None = None) -> str:
    env = (catalogue or Catalogue()).make(env_id)
    env.close()
    return str(env.spec.id)


def test_registered_environments_are_made() -> None:
    assert made("CartPole-v1") == "CartPole-v1"
    assert "CartPole-v1" in Catalogue().ids()


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("CartPole-v0", "CartPole-v0"),  # still registered
        ("Pendulum-v0", "Pendulum-v1"),
        ("LunarLander-v2", "LunarLander-v3"),
        ("FrozenLake-v0", "FrozenLake-v1"),
        ("Taxi-v3", "Taxi-v4"),
        ("HalfCheetah-v2", "HalfCheetah-v5"),  # registered, but moved to another package
    ],
)
def test_versions_that_are_gone(asked: str, served: str) -> None:
    assert made(asked) == served


def test_a_replacement_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    catalogue = Catalogue()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            catalogue.make("Pendulum-v0").close()
    assert [record.message for record in caplog.records] == [
        "clients ask for Pendulum-v0, which is gone: they get Pendulum-v1"
    ]


def test_replacing_can_be_switched_off() -> None:
    with pytest.raises(UnknownEnvId, match="Pendulum-v0"):
        made("Pendulum-v0", Catalogue(replace_old_versions=False))


@pytest.mark.parametrize(
    "env_id",
    [
        None, 1, 1.5, True, [], {}, "", "CartPole", "CartPole-v", "CartPole-vx", "-v1", "a b-v1",
        "os:CartPole-v1", "os.path:Thing", "x:y/Thing-v1", "A" * 201 + "-v1", "../x-v1", "Ä-v1",
        "CartPole-v1\n", "CartPole-v1\0",
    ],
)  # fmt: skip
def test_malformed_ids(env_id: object) -> None:
    with pytest.raises(MalformedEnvId) as caught:
        made(env_id)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("env_id", ["Nothing-v0", "CartPole-v2", "CartPole-v99999", "none/Such-v1"])
def test_unknown_ids(env_id: str) -> None:
    with pytest.raises(UnknownEnvId):
        made(env_id)


def test_no_module_is_imported_for_a_client(workdir: Path) -> None:
    (workdir / "evil_module.py").write_text("raise SystemExit('imported')")
    with pytest.raises(MalformedEnvId):
        made("evil_module:CartPole-v1")
    assert "evil_module" not in sys.modules


def test_only_what_the_patterns_allow() -> None:
    catalogue = Catalogue(env=("Cart*", "Pendulum-v1"))
    assert catalogue.ids() == ["CartPole-v0", "CartPole-v1", "Pendulum-v1"]
    assert made("Pendulum-v0", catalogue) == "Pendulum-v1"
    with pytest.raises(UnknownEnvId):
        made("Acrobot-v1", catalogue)


def test_clients_of_other_servers_only_by_name() -> None:
    assert "gym_loop/Http-v0" in gym.registry
    with pytest.raises(UnknownEnvId):
        Catalogue().resolve("gym_loop/Http-v0")
    assert Catalogue(env=("gym_loop/Http-v0",)).ids() == ["gym_loop/Http-v0"]


def test_imports_register_environments(workdir: Path) -> None:
    (workdir / "own_envs.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Own-v3', 'gymnasium.envs.classic_control.cartpole:CartPoleEnv')\n"
        "gymnasium.register('Bare', 'gymnasium.envs.classic_control.cartpole:CartPoleEnv')\n"
    )
    catalogue = Catalogue(imports=("own_envs.py",), env=("Own-*", "Bare"))
    assert made("Own-v1", catalogue) == "Own-v3"
    assert made("Bare", catalogue) == "Bare"


def test_broken_imports_end_the_start(workdir: Path) -> None:
    with pytest.raises(ClassLoadError):
        Catalogue(imports=("none.py",))
    (workdir / "hook.py").write_text("def get_env(env_id, seed=None): ...")
    with pytest.raises(EnvUnknownError, match="get_env"):
        Catalogue(make="hook.py:get_envs")


def test_a_hook_makes_everything(workdir: Path) -> None:
    (workdir / "hook.py").write_text(
        "import gymnasium\n"
        "def get_env(env_id, seed=None):\n"
        "    env = gymnasium.make('CartPole-v1')\n"
        "    env.asked = (env_id, seed)\n"
        "    return env\n"
    )
    catalogue = Catalogue(make="hook.py:get_env", env=("Sonic-*",))
    assert catalogue.make("Sonic-Genesis", 7).asked == ("Sonic-Genesis", 7)
    with pytest.raises(UnknownEnvId):
        catalogue.make("CartPole-v1")
    with pytest.raises(MalformedEnvId):
        catalogue.make("os:Sonic-v1")


@pytest.mark.parametrize("given", [None, 3, "CartPole-v1"])
def test_a_hook_that_makes_nonsense(given: object) -> None:
    catalogue = Catalogue(make=lambda env_id, seed=None: given)
    with pytest.raises(EnvFailed, match=type(given).__name__):
        catalogue.make("CartPole-v1")


def test_what_cannot_be_made_is_a_problem() -> None:
    bad_envs.register()
    with pytest.raises(EnvFailed, match="the engine is missing"):
        made("Unmakeable-v0")
    gym.register("Absent-v0", "no_such_package.envs:Absent")
    with pytest.raises(EnvFailed, match="no_such_package"):
        made("Absent-v0")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(EnvFailed, match="pip install ale-py"):
        made("ALE/Pong-v5")


def test_frames_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    env = Catalogue().make("CartPole-v1")
    env.reset()
    assert env.render().shape == (400, 600, 3)
    env.close()
    gym.register("Blind-v0", entry_point=bad_envs.Scripted, disable_env_checker=True)
    assert Catalogue().make("Blind-v0").render_mode is None
