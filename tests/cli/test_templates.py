"""The templates of `gym-loop new` make good run files, and are written all or none."""

from pathlib import Path

import pytest

from gym_loop.cli.new import scaffold
from gym_loop.config.run_file import load_config
from gym_loop.errors import UsageError
from gym_loop.schema.files import write_new


@pytest.mark.parametrize("kind", ["agent", "loop", "env"])
def test_templates_make_a_good_run_file(kind: str, workdir: Path) -> None:
    files = scaffold(kind, Path(f"my_{kind}.py"))
    assert list(files) == [Path(f"my_{kind}.py"), Path(f"my_{kind}.yaml")]
    write_new(files)
    config = load_config(f"my_{kind}.yaml")
    named = {"agent": config.agent.class_name, "loop": config.loop.class_name}
    assert named.get(kind, config.env.name) in (f"my_{kind}.py:My{kind.title()}", "MyEnv-v0")


def test_class_name_follows_the_file() -> None:
    assert (
        "class BestOf2Agents("
        in scaffold("agent", Path("best_of-2 agents.py"))[Path("best_of-2 agents.py")]
    )


@pytest.mark.parametrize(
    ("kind", "path", "message"),
    [
        ("agnet", "a.py", "'agnet' is none of agent, loop, env; did you mean agent?"),
        ("agent", "a.txt", "a.txt: name a Python file, such as my_agent.py"),
        ("agent", "1.py", "1.py: name a Python file"),
        ("loop", "dir", "dir: name a Python file, such as my_loop.py"),
        ("env", ".py", ".py: name a Python file"),
        ("agent", "class.py", None),
    ],
)
def test_refused(kind: str, path: str, message: str | None) -> None:
    if message is None:
        assert "class Class(" in scaffold(kind, Path(path))[Path(path)]
        return
    with pytest.raises(UsageError) as error:
        scaffold(kind, Path(path))
    assert message in str(error.value)


class TestWriteNew:
    def test_all_or_none(self, workdir: Path) -> None:
        (workdir / "b").write_text("old")
        with pytest.raises(UsageError, match=r"b exists; choose another name, or .* --force"):
            write_new({Path("a"): "new", Path("b"): "new"})
        assert [path.name for path in workdir.iterdir()] == ["b"]
        assert (workdir / "b").read_text() == "old"

    def test_force(self, workdir: Path) -> None:
        (workdir / "b").write_text("old")
        write_new({Path("b"): "new"}, force=True)
        assert (workdir / "b").read_text() == "new"

    def test_home_directory(self, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(workdir))
        write_new({Path("~/b"): "new"})
        assert (workdir / "b").read_text() == "new"
        with pytest.raises(UsageError, match="exists"):
            write_new({Path("~/b"): "newer"})

    @pytest.mark.parametrize("path", ["no/such/directory/a", "."])
    def test_unwritable(self, path: str, workdir: Path) -> None:
        with pytest.raises(UsageError, match="cannot be written"):
            write_new({Path(path): "x"}, force=True)

    def test_second_cannot_be_written(self, workdir: Path) -> None:
        with pytest.raises(UsageError, match=r"no/b cannot be written"):
            write_new({Path("a"): "x", Path("no/b"): "x"})
        assert list(workdir.iterdir()) == []
