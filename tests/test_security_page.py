"""Every claim of the documentation that names a test names one that exists."""

import ast
import re
from pathlib import Path

import pytest

from gym_loop.config.run_file import load_config
from gym_loop.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.rst"))
NAMED = re.compile(r"``(tests/[\w/]+\.py)((?:::\w+)+)``")
CLAIMS = sorted({found for page in PAGES for found in NAMED.findall(page.read_text())})
SOURCES = sorted((ROOT / "gym_loop").rglob("*.py"))


def definitions(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name: node.body for node in body if isinstance(node, kinds)}


def test_there_are_claims() -> None:
    assert len(CLAIMS) >= 50


@pytest.mark.parametrize(("file", "path"), CLAIMS, ids=[f"{a}{b}" for a, b in CLAIMS])
def test_the_named_test_exists(file: str, path: str) -> None:
    body = ast.parse((ROOT / file).read_text()).body
    for name in path.removeprefix("::").split("::"):
        assert name in definitions(body), f"{file} has no {name}"
        body = definitions(body)[name]


def test_every_row_of_the_threat_model_names_a_test() -> None:
    text = (ROOT / "docs" / "security.rst").read_text()
    rows = re.findall(r"^ {3}\* - (.+?)\n {5}- (.+?)(?=\n {3}\* -|\n\n)", text, re.M | re.S)
    unproved = [claim for claim, tests in rows if tests != "Test" and not NAMED.search(tests)]
    assert len(rows) >= 20
    assert unproved == []


def _calls(path: Path) -> set[str]:
    """Names that a file imports and dotted names that it calls."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
            found |= {f"{one.arg}={ast.unparse(one.value)}" for one in node.keywords if one.arg}
    return found


def test_nothing_unpickles_evaluates_or_starts_a_shell() -> None:
    forbidden = {
        "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve",
        "eval", "exec", "compile", "os.system", "os.popen", "torch.load", "np.load", "numpy.load",
        "yaml.load", "yaml.unsafe_load", "yaml.full_load", "shell=True", "allow_pickle=True",
    }  # fmt: skip
    used = {path.relative_to(ROOT).as_posix(): forbidden & _calls(path) for path in SOURCES}
    assert {name: calls for name, calls in used.items() if calls} == {}


def test_values_that_are_set_are_never_code(workdir: Path) -> None:
    tagged = "loop.parameters.logdir=!!python/object/apply:os.mkdir [made]"
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        load_config({}, [tagged])
    text = "__import__('os').mkdir('made')"
    config = load_config({}, [f"loop.parameters.logdir={text}"])
    assert config.loop.parameters["logdir"] == text
    assert not (workdir / "made").exists()
