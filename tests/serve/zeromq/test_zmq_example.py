"""The worked example: a client that is not ours drives MountainCar through the streams."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from gym_loop.schema.parameters import documentation
from gym_loop.schema.validation import fields_of
from gym_loop.serve.zeromq.config import Sections, load_config
from tests.serve.zeromq.zmq_serving import serving

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples" / "zeromq"


def load_client() -> ModuleType:
    spec = importlib.util.spec_from_file_location("client", EXAMPLES / "mountain_car_client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_client_brings_the_car_to_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {
        "Env.env": "MountainCar-v0",
        "Env.env_params": {"max_episode_steps": 400},
        "EnvRunner.update_interval": 0.01,
        "EnvRunner.inter_trial_duration": 0.1,
    }
    with serving(**settings) as served:
        positions = load_client().play(**served.ports)
    assert len(positions) == 2
    assert positions[1] >= 0.5
    assert "the car came to 0.5" in capsys.readouterr().out


def test_the_configuration_of_the_example_is_valid() -> None:
    config = load_config(EXAMPLES / "mountain_car.json")
    assert config.env.env == "MountainCar-v0"
    assert config.prefix == EXAMPLES


def test_the_page_describes_every_key() -> None:
    page = (EXAMPLES.parents[1] / "serve-zmq.rst").read_text(encoding="utf-8")
    for name, section in fields_of(Sections).items():
        for key in documentation(section.annotation):
            assert f"``{name}.{key}``" in page
