"""What is released: a wheel and an sdist that install into an empty environment and work."""

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import gym_loop

ROOT = Path(__file__).resolve().parents[1]
NAME = f"gym_loop-{gym_loop.__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"


def run(*command: object, cwd: Path, timeout: float = 120) -> str:
    """Run a command to its end; what it printed, which is shown where it fails."""
    unset = ("PYTHONPATH", "VIRTUAL_ENV", "PIP_CONSTRAINT")
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key not in unset},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist of this tree."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", directory, cwd=ROOT)
    return directory


def wheel_names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as wheel:
        return set(wheel.namelist())


def test_both_are_built(built: Path) -> None:
    assert {path.name for path in built.iterdir()} == {WHEEL, f"{NAME}.tar.gz"}


def test_the_wheel_has_the_whole_package_and_nothing_else(built: Path) -> None:
    names = wheel_names(built / WHEEL)
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "gym_loop").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"gym_loop/py.typed", "gym_loop/config/presets/ppo/CartPole-v1.yaml"} <= package
    assert {name for name in names if ".dist-info/" not in name} == package


def test_the_metadata_say_what_is_needed(built: Path) -> None:
    with zipfile.ZipFile(built / WHEEL) as wheel:
        text = wheel.read(f"{NAME}.dist-info/METADATA").decode()
    metadata = HeaderParser().parsestr(text)
    assert metadata["Name"] == "gym-loop"
    assert metadata["Version"] == gym_loop.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.10"
    assert {"torch", "bridges", "all"} <= set(metadata.get_all("Provides-Extra", []))
    needed = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert not [one for one in needed if re.match(r"torch|ray|matplotlib|uvicorn|pyzmq", one)]


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    with tarfile.open(built / f"{NAME}.tar.gz") as sdist:
        sdist.extractall(tmp_path, filter="data")
    source = tmp_path / NAME
    for name in ("README.rst", "LICENSE", "CITATION.cff", "CONTRIBUTING.rst", "tests", "docs"):
        assert (source / name).exists(), name
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=source)
    assert wheel_names(tmp_path / WHEEL) == wheel_names(built / WHEEL)


def smoke(python: Path, home: Path, cwd: Path) -> None:
    """Create, train and evaluate with the command of an environment that has only the wheel."""
    gym_loop_command = python.parent / "gym-loop"
    found = run(python, "-c", "import gym_loop; print(gym_loop.__file__)", cwd=cwd)
    assert Path(found.strip()).is_relative_to(home)
    assert run(gym_loop_command, "--version", cwd=cwd).split() == ["gym-loop", gym_loop.__version__]
    preset = ("create-default", "--preset", "ppo/CartPole-v1", "-c", "run.yaml")
    assert "wrote run.yaml" in run(gym_loop_command, *preset, cwd=cwd)
    budget = ("--set", "loop.parameters.max_steps=2000")
    trained = run(gym_loop_command, "train", "-c", "run.yaml", *budget, cwd=cwd)
    assert "run-1 finished" in trained
    evaluated = run(gym_loop_command, "evaluate", "-c", "run.yaml", "--episodes", "2", cwd=cwd)
    assert "2 episodes of run-1" in evaluated


def test_the_wheel_works_in_an_environment_without_this_tree(built: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", query, cwd=tmp_path).strip())
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps")
    run(*pip, built / WHEEL, cwd=tmp_path)
    # The dependencies are those of the tests' environment; our package there comes after.
    ours = Path(run(sys.executable, "-c", query, cwd=tmp_path).strip())
    (packages / "dependencies.pth").write_text(f"{ours}\n")
    smoke(python, home, tmp_path)


@pytest.mark.learning  # it downloads every dependency
def test_the_wheel_installs_with_its_dependencies(built: Path, tmp_path: Path) -> None:
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    pip = (python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
    run(*pip, built / WHEEL, cwd=tmp_path, timeout=600)
    smoke(python, home, tmp_path)


def test_every_place_has_the_same_version() -> None:
    version = gym_loop.__version__
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text()
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^{re.escape(version)}\b", (ROOT / "CHANGELOG.rst").read_text(), re.M)


def test_the_container_has_the_package_and_what_it_is_built_from() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    names = [name for line in copied for name in line.split()]
    assert {"gym_loop", "pyproject.toml", "LICENSE"} <= set(names)
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert [name for name in names if name not in allowed or not (ROOT / name).exists()] == []
