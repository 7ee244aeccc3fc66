"""The files that travel to a cluster: which they are, and when they are used."""

import sys
from pathlib import Path

import pytest

from gym_loop.config.run_file import load_config
from gym_loop.errors import SweepError
from gym_loop.schema import class_strings as class_loader
from gym_loop.schema.class_strings import load_class, use_instead
from gym_loop.sweeps import parcel
from gym_loop.sweeps.parcel import named_files, pack
from gym_loop.sweeps.trainable import PARCEL, travelled_files
from tests.sweeps.sweeping_files import write_files


@pytest.fixture(autouse=True)
def _here(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has files of its own."""
    write_files({"parameters": {}})
    monkeypatch.setattr(class_loader, "_travelled", {})


def test_every_file_that_the_run_file_names_travels_with_the_modules_beside_it(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "helpers").mkdir()
    (workdir / "helpers/__init__.py").touch()
    (workdir / "helpers/more.py").touch()
    (workdir / "data").mkdir()
    (workdir / "data/no_package.py").touch()
    files = named_files(load_config("run.yaml"))
    assert sorted(files) == [workdir / "agent.py", workdir / "flat.py"]
    place = workdir / "place"
    found = pack(files, place)
    assert sorted(path.relative_to(found).as_posix() for path in found.rglob("*.py")) == [
        "__init__.py",
        "files0/agent.py",
        "files0/flat.py",
        "files0/helpers/__init__.py",
        "files0/helpers/more.py",
    ]
    monkeypatch.syspath_prepend(str(place))
    assert travelled_files() == {}  # the files are here, and the same
    (workdir / "agent.py").write_text("other")
    (workdir / "flat.py").unlink()
    assert sorted(travelled_files()) == [str(workdir / "agent.py"), str(workdir / "flat.py")]
    use_instead({Path(was): Path(now) for was, now in travelled_files().items()})
    assert load_class(f"{workdir}/agent.py:Skilled").__name__ == "Skilled"


def test_without_a_parcel_no_file_is_another_one() -> None:
    assert PARCEL not in sys.modules
    assert travelled_files() == {}


def test_too_much_is_refused(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "MOST_BYTES", 10)
    with pytest.raises(SweepError, match="are more than 0 MB: move yours to a folder"):
        pack([workdir / "agent.py"], workdir / "place")
