"""A class string leads to its class; each way in which it cannot has an error of its own."""

import sys
from pathlib import Path

import pytest

from gym_loop.agents import BaseAgent
from gym_loop.agents.random_agent import RandomAgent
from gym_loop.errors import (
    ClassLoadError,
    ClassMissingError,
    ModuleBrokenError,
    ModuleMissingError,
    WrongClassError,
)
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.schema import class_strings as class_loader
from gym_loop.schema.class_strings import (
    absolute_files,
    class_string,
    find_file,
    load_class,
    load_module,
    public_name,
    use_instead,
)
from gym_loop.schema.suggestions import did_you_mean

AGENT = "from gym_loop.agents import BaseAgent\nclass MyAgent(BaseAgent):\n    pass\n"


def test_installed_module() -> None:
    assert load_class("gym_loop.agents.random_agent:RandomAgent", BaseAgent) is RandomAgent


def test_module_in_the_working_directory(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "a_module_of_mine", raising=False)
    (workdir / "a_module_of_mine.py").write_text(AGENT)
    assert load_class("a_module_of_mine:MyAgent", BaseAgent).__name__ == "MyAgent"


def test_file_absolute_relative_and_home(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "mine.py").write_text(AGENT)
    monkeypatch.setenv("HOME", str(workdir))
    found = [
        load_class(f"{place}:MyAgent") for place in (workdir / "mine.py", "mine.py", "~/mine.py")
    ]
    assert found[0].__name__ == "MyAgent"
    assert found[0] is found[1] is found[2]  # one file is one module, however it is named
    (workdir / "other.py").write_text(AGENT)
    load_module("other.py")
    assert sys.path.count(str(workdir)) == 1


def test_a_loaded_class_is_found_again_by_its_string(workdir: Path) -> None:
    assert class_string(RandomAgent) == "gym_loop.agents.random_agent:RandomAgent"
    (workdir / "mine.py").write_text(AGENT)
    mine = load_class("mine.py:MyAgent")
    assert class_string(mine) == f"{workdir / 'mine.py'}:MyAgent"
    assert load_class(class_string(mine)) is mine


def test_a_directory_may_have_a_colon_in_its_name(workdir: Path) -> None:
    (workdir / "a:b").mkdir()
    (workdir / "a:b" / "mine.py").write_text(AGENT)
    assert load_class("a:b/mine.py:MyAgent").__name__ == "MyAgent"


def test_working_directory_comes_before_the_search(workdir: Path) -> None:
    for place in ("here", "there"):
        (workdir / place).mkdir()
        (workdir / place / "one.py").write_text(f"class Which:\n    place = {place!r}\n")
    (workdir / "two.py").write_text("class Which:\n    place = 'cwd'\n")
    (workdir / "there" / "two.py").write_text("class Which:\n    place = 'there'\n")
    search = [workdir / "here", workdir / "there"]
    assert load_class("one.py:Which", search=search).place == "here"
    assert load_class("two.py:Which", search=search).place == "cwd"
    assert find_file("three.py", search) is None


def test_file_never_shadows_an_installed_module(workdir: Path) -> None:
    import random

    (workdir / "random.py").write_text("class Mine:\n    pass\n")
    assert load_class("random.py:Mine").__name__ == "Mine"
    assert sys.modules["random"] is random
    assert load_class("random:Random") is random.Random


def test_file_imports_its_neighbours(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "sub").mkdir()
    monkeypatch.delitem(sys.modules, "a_neighbour_of_mine", raising=False)
    (workdir / "sub" / "a_neighbour_of_mine.py").write_text("VALUE = 7\n")
    (workdir / "sub" / "mine.py").write_text(
        "from a_neighbour_of_mine import VALUE\nclass Mine:\n    value = VALUE\n"
    )
    assert load_class("sub/mine.py:Mine").value == 7


@pytest.mark.parametrize(
    "text", ["", "RandomAgent", "module:", ":Class", "module:Not a name", "mine.py", "a:b.c"]
)
def test_not_a_class_string(text: str) -> None:
    with pytest.raises(
        ClassLoadError, match=r"write package.module:Class or path/to/file.py:Class"
    ):
        load_class(text, kind="agent")


def test_a_class_of_no_kind_is_called_a_class() -> None:
    with pytest.raises(ClassLoadError, match=r"^'nothing' does not name a class: write package"):
        load_class("nothing")


def test_no_such_file_names_where_it_looked(workdir: Path) -> None:
    with pytest.raises(ModuleMissingError) as error:
        load_class("mine.py:Mine", search=[workdir / "elsewhere"])
    assert f"no file mine.py (looked in {workdir}, {workdir / 'elsewhere'})" in str(error.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("no_such_module_at_all:X", "there is no module no_such_module_at_all"),
        ("gym_loop.agents.random_agnet:X", "did you mean random_agent?"),
        ("gym_loop.agnets.random_agent:X", "there is no module gym_loop.agnets.random_agent"),
    ],
)
def test_no_such_module(name: str, hint: str) -> None:
    with pytest.raises(ModuleMissingError) as error:
        load_class(name)
    assert hint in str(error.value)


@pytest.mark.parametrize("name", ["no_such_module", "no_such_package.module", "json.decoder.part"])
def test_no_such_module_with_nothing_near(name: str) -> None:
    with pytest.raises(ModuleMissingError) as error:
        load_class(f"{name}:X")
    remedy = "(install its package, or name a file: path/to/file.py)"
    assert str(error.value) == f"there is no module {name} {remedy}"


@pytest.mark.parametrize("name", [".agents:X", "..:X"])
def test_relative_module_is_no_module(name: str) -> None:
    with pytest.raises(ModuleMissingError, match="there is no module"):
        load_class(name)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            "import no_such_dependency\n",
            "ModuleNotFoundError: No module named 'no_such_dependency'",
        ),
        ("x = 1\nraise ValueError('on purpose')\n", "ValueError: on purpose"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
    ids=["dependency", "raises", "syntax", "exits"],
)
@pytest.mark.parametrize("by_file", [True, False], ids=["file", "module"])
def test_broken_module_shows_its_own_traceback(
    workdir: Path, code: str, what: str, by_file: bool
) -> None:
    name = f"broken_{abs(hash((code, by_file)))}"
    (workdir / f"{name}.py").write_text(code)
    with pytest.raises(ModuleBrokenError) as error:
        load_class(f"{name}.py:X" if by_file else f"{name}:X")
    message = str(error.value)
    first, second, *_ = message.splitlines()
    assert f"failed while it was imported: {what}" in first
    place = workdir / f"{name}.py" if by_file else name
    assert second == f"Traceback of {place} (most recent call last):"
    assert f'{name}.py", line {2 if "purpose" in code else 1}' in message
    assert "importlib" not in message  # its own frames, not the machinery's
    assert "class_loader.py" not in message
    assert error.value.traceback.splitlines()[-1].startswith(what.partition(":")[0])


def test_broken_file_can_be_mended(workdir: Path) -> None:
    (workdir / "mine.py").write_text("raise ValueError\n")
    with pytest.raises(ModuleBrokenError):
        load_module("mine.py")
    (workdir / "mine.py").write_text("VALUE = 1234567\n")
    assert load_module("mine.py").VALUE == 1234567


def test_no_such_class_names_the_nearest(workdir: Path) -> None:
    (workdir / "mine.py").write_text(AGENT)
    with pytest.raises(
        ClassMissingError, match=r"mine.py has no class MyAgnet; did you mean MyAgent"
    ):
        load_class("mine.py:MyAgnet")


def test_wrong_class(workdir: Path) -> None:
    (workdir / "mine.py").write_text("thing = 3\nclass Plain:\n    pass\n")
    with pytest.raises(WrongClassError, match="is a int, not a class"):
        load_class("mine.py:thing")
    with pytest.raises(
        WrongClassError, match=r"not an agent: it must derive from gym_loop.agents.BaseA"
    ):
        load_class("mine.py:Plain", BaseAgent, kind="agent")
    with pytest.raises(WrongClassError, match="not an agent"):
        load_class("gym_loop.loops.default_loop:DefaultLoop", BaseAgent, kind="agent")


def test_public_name() -> None:
    assert public_name(BaseAgent) == "gym_loop.agents.BaseAgent"
    assert public_name(DefaultLoop) == "gym_loop.loops.default_loop.DefaultLoop"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_episods", "; did you mean max_episodes?"),
        ("LOGDIR", "; did you mean logdir?"),
        ("max_step", "; did you mean max_steps?"),
        ("entirely else", ""),
    ],
)
def test_did_you_mean(name: str, hint: str) -> None:
    assert did_you_mean(name, ["max_episodes", "max_steps", "logdir"]) == hint


def test_absolute_files(workdir: Path) -> None:
    (workdir / "mine.py").write_text("")
    value = {
        "class": "mine.py:Mine",
        "files": ["mine.py", "other.py", "package.module:Class", 3, None],
        "text": "about mine.py: it is good",
    }
    assert absolute_files(value, []) == {
        "class": f"{workdir}/mine.py:Mine",
        "files": [f"{workdir}/mine.py", "other.py", "package.module:Class", 3, None],
        "text": "about mine.py: it is good",
    }


def test_a_copy_is_loaded_in_place_of_a_file(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_loader, "_travelled", {})
    (workdir / "copy.py").write_text("class Mine:\n    place = 'copy'\n")
    (workdir / "other.py").write_text("class Mine:\n    place = 'other'\n")
    use_instead({Path("/elsewhere/mine.py"): workdir / "copy.py"})
    assert load_class("/elsewhere/mine.py:Mine").place == "copy"
    assert load_class("other.py:Mine").place == "other"


def test_an_error_without_a_remedy_ends_with_what_it_says(workdir: Path) -> None:
    (workdir / "plain.py").write_text("raise ValueError('on purpose')\n")
    with pytest.raises(ModuleBrokenError) as raised:
        load_module("plain.py")
    first = str(raised.value).splitlines()[0]
    assert first == "plain.py failed while it was imported: ValueError: on purpose"


@pytest.mark.parametrize(
    ("module", "remedy"),
    [("gym", "import gymnasium as gym"), ("torch", 'pip install "gym-loop[torch]"')],
)
def test_modules_that_are_missing_most_often_have_a_remedy(
    module: str, remedy: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    (workdir / f"needs_{module}.py").write_text(f"import {module}\n")
    with pytest.raises(ModuleBrokenError) as raised:
        load_class(f"needs_{module}.py:Agent")
    assert str(raised.value).splitlines()[0].endswith(remedy)
