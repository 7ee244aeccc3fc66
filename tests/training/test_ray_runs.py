"""The files that travel to a cluster: which they are, and when they are used."""

from pathlib import Path

import pytest

from gym_loop.config.run_file import load_config
from gym_loop.errors import RunError
from gym_loop.schema import class_strings as class_loader
from gym_loop.schema.class_strings import load_class, use_instead
from gym_loop.training import ray_runs
from gym_loop.training.ray_runs import named_files, read_files, unpack
from tests.sweeps.sweeping_files import write_files


@pytest.fixture(autouse=True)
def _here(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has files of its own."""
    write_files({"parameters": {}})
    monkeypatch.setattr(class_loader, "_travelled", {})


def test_every_file_that_the_run_file_names_travels_with_the_modules_beside_it(
    workdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (workdir / "helpers").mkdir()
    (workdir / "helpers/__init__.py").touch()
    (workdir / "helpers/more.py").touch()
    (workdir / "data").mkdir()
    (workdir / "data/no_package.py").touch()
    files = named_files(load_config("run.yaml"))
    assert sorted(files) == [workdir / "agent.py", workdir / "flat.py"]
    contents = read_files(files)
    assert sorted(Path(path).relative_to(workdir).as_posix() for path in contents) == [
        "agent.py",
        "flat.py",
        "helpers/__init__.py",
        "helpers/more.py",
    ]
    assert unpack(contents, tmp_path_factory.mktemp("same")) == {}
    (workdir / "agent.py").write_text("other")
    (workdir / "flat.py").unlink()
    place = tmp_path_factory.mktemp("other")
    copies = unpack(contents, place)
    assert sorted(copies) == [str(workdir / "agent.py"), str(workdir / "flat.py")]
    assert all(Path(copy).is_relative_to(place) for copy in copies.values())
    assert (Path(copies[str(workdir / "agent.py")]).parent / "helpers/more.py").is_file()
    use_instead({Path(was): Path(now) for was, now in copies.items()})
    assert load_class(f"{workdir}/agent.py:Skilled").__name__ == "Skilled"


def test_too_much_is_refused(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_runs, "MOST_BYTES", 10)
    with pytest.raises(RunError, match="are more than 0 MB: move yours to a folder"):
        read_files([workdir / "agent.py"])
