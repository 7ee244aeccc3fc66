"""The fan-out: what reaches the loggers, and that none of them stops a training."""

import math
import subprocess
import sys

import numpy as np
import pytest

from gym_loop.errors import ConfigError, RunError
from gym_loop.runs.loggers.base import BaseLogger
from gym_loop.runs.loggers.csv_logger import CsvLogger
from gym_loop.runs.loggers.tensorboard_logger import TensorBoardLogger
from gym_loop.runs.metrics import Metrics, logger_classes, make_loggers


class ListLogger(BaseLogger):
    """Keeps everything in a list; raises what it is told to raise."""

    def __init__(self, directory, run_id, **parameters):
        super().__init__(directory, run_id, **parameters)
        self.rows = []
        self.calls = []
        self.error = None

    @staticmethod
    def get_default_parameters():
        return {"colour": "red", "size": 1}

    def _call(self, name):
        self.calls.append(name)
        if self.error is not None:
            raise self.error

    def start(self, hyperparameters):
        self._call("start")
        self.hyperparameters = dict(hyperparameters)

    def log(self, step, scalars, seconds):
        self._call("log")
        self.rows.append((step, dict(scalars), seconds))

    def flush(self):
        self._call("flush")

    def close(self, exit_reason):
        self._call(f"close {exit_reason}")

    def state_dict(self):
        self._call("state_dict")
        return {"rows": len(self.rows)}

    def load_state_dict(self, state):
        self._call("load_state_dict")
        del self.rows[state["rows"] :]


class SilentLogger(BaseLogger):
    """Only what must be written."""

    def log(self, step, scalars, seconds):
        self.last = step, dict(scalars), seconds


@pytest.fixture
def warnings_heard():
    return []


@pytest.fixture
def logger(tmp_path):
    return ListLogger(tmp_path, "run-1")


def test_every_logger_gets_every_call(tmp_path, warnings_heard):
    loggers = [ListLogger(tmp_path, "run-1"), ListLogger(tmp_path, "run-1")]
    metrics = Metrics(loggers, warnings_heard.append)
    metrics.start({"seed": 3})
    metrics.log(10, {"train/episode_return": 1.5}, 0.25)
    metrics.log(20, {"eval/return_mean": -2}, 0.5)
    metrics.flush()
    metrics.close("finished")
    for logger in loggers:
        assert logger.hyperparameters == {"seed": 3}
        assert logger.rows == [
            (10, {"train/episode_return": 1.5}, 0.25),
            (20, {"eval/return_mean": -2}, 0.5),
        ]
        assert logger.calls == ["start", "log", "log", "flush", "flush", "close finished"]
    assert warnings_heard == []


def test_a_logger_needs_nothing_but_log(tmp_path, warnings_heard):
    logger = SilentLogger(tmp_path, "run-1", anything=1)
    metrics = Metrics([logger], warnings_heard.append)
    metrics.load_state_dict({"SilentLogger": {}})
    metrics.start({})
    metrics.log(1, {"a": 1.0}, 0.1)
    assert metrics.state_dict() == {"SilentLogger": {}}
    metrics.close("stopped")
    assert logger.last == (1, {"a": 1.0}, 0.1)
    assert logger.parameters == {"anything": 1}
    assert warnings_heard == []


def test_a_logger_without_log_is_switched_off_with_a_hint(tmp_path, warnings_heard):
    metrics = Metrics([BaseLogger(tmp_path, "run-1")], warnings_heard.append)
    metrics.log(1, {"a": 1.0}, 0.1)
    assert len(warnings_heard) == 1
    assert "BaseLogger must define log()" in warnings_heard[0]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (np.array(2.5), 2.5),
        (np.bool_(True), 1.0),
        (True, 1.0),
        (np.float64(0.1), 0.1),
    ],
)
def test_scalars_of_other_types_become_plain_numbers(logger, warnings_heard, value, plain):
    Metrics([logger], warnings_heard.append).log(1, {"a": value, "b": 2}, 0.0)
    (row,) = logger.rows
    assert row[1] == {"a": plain, "b": 2}
    assert type(row[1]["a"]) is float
    assert type(row[1]["b"]) is int
    assert warnings_heard == []


@pytest.mark.needs("torch")
def test_a_torch_scalar_with_its_graph_becomes_a_plain_number(logger, warnings_heard):
    import torch

    loss = (torch.tensor(1.5, requires_grad=True) * 2).sum()
    Metrics([logger], warnings_heard.append).log(1, {"agent/loss": loss}, 0.0)
    assert logger.rows == [(1, {"agent/loss": 3.0}, 0.0)]
    assert warnings_heard == []


@pytest.mark.parametrize("value", ["0.5", np.ones(3), None, [1.0], b"1", 10**400, {}, 1j])
def test_what_is_no_number_is_left_out_and_named_once(logger, warnings_heard, value):
    metrics = Metrics([logger], warnings_heard.append)
    for step in range(3):
        metrics.log(step, {"agent/odd": value, "train/episode_return": 1.0}, 0.0)
    assert [row[1] for row in logger.rows] == [{"train/episode_return": 1.0}] * 3
    assert len(warnings_heard) == 1
    assert "agent/odd" in warnings_heard[0]
    assert "not a number" in warnings_heard[0]


def test_no_row_without_a_metric(logger, warnings_heard):
    metrics = Metrics([logger], warnings_heard.append)
    metrics.log(1, {}, 0.0)
    metrics.log(1, {"a": "text"}, 0.0)  # type: ignore[dict-item]
    assert logger.rows == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_nan_and_infinity_are_logged_and_named_once_each(logger, warnings_heard, value):
    metrics = Metrics([logger], warnings_heard.append)
    metrics.log(7, {"agent/loss": value, "agent/entropy": 0.5}, 0.0)
    metrics.log(8, {"agent/loss": value, "agent/entropy": value}, 0.0)
    metrics.log(9, {"agent/loss": value, "agent/entropy": value}, 0.0)
    assert len(logger.rows) == 3
    assert str(logger.rows[0][1]["agent/loss"]) == str(float(value))
    assert len(warnings_heard) == 2
    assert f"agent/loss is {float(value)} at step 7" in warnings_heard[0]
    assert f"agent/entropy is {float(value)} at step 8" in warnings_heard[1]


def test_opposite_infinities_and_large_sums_are_told_apart(logger, warnings_heard):
    metrics = Metrics([logger], warnings_heard.append)
    metrics.log(1, {"a": 1.7e308, "b": 1.7e308}, 0.0)
    assert warnings_heard == []
    metrics.log(2, {"a": math.inf, "b": -math.inf}, 0.0)
    assert len(warnings_heard) == 2
    assert len(logger.rows) == 2


@pytest.mark.parametrize("moment", ["start", "log", "flush", "state_dict", "load", "close"])
def test_a_broken_logger_is_switched_off_and_the_others_go_on(tmp_path, warnings_heard, moment):
    broken, sound = ListLogger(tmp_path, "run-1"), SilentLogger(tmp_path, "run-1")
    metrics = Metrics([broken, sound], warnings_heard.append)
    broken.error = ValueError("no such colour")
    if moment == "start":
        metrics.start({})
    elif moment == "load":
        metrics.load_state_dict({"ListLogger": {"rows": 0}})
    elif moment == "close":
        broken.flush = lambda: None
        metrics.close("finished")
    elif moment == "state_dict":
        broken.flush = lambda: None
        assert metrics.state_dict() == {"SilentLogger": {}}
    elif moment == "flush":
        metrics.flush()
    for step in range(3):
        metrics.log(step, {"a": 1.0}, 0.0)
    assert len(warnings_heard) == 1
    assert "ListLogger failed and is switched off" in warnings_heard[0]
    assert "ValueError: no such colour" in warnings_heard[0]
    assert len(broken.calls) == 1
    assert sound.last == (2, {"a": 1.0}, 0.0)


def test_a_logger_that_cannot_write_is_kept_and_tried_again(logger, warnings_heard):
    metrics = Metrics([logger], warnings_heard.append)
    logger.error = OSError(28, "No space left on device")
    metrics.log(1, {"a": 1.0}, 0.0)
    metrics.log(2, {"a": 1.0}, 0.0)
    metrics.flush()
    assert len(warnings_heard) == 1
    assert "No space left on device" in warnings_heard[0]
    assert "try again" in warnings_heard[0]
    logger.error = None
    metrics.log(3, {"a": 1.0}, 0.0)
    metrics.flush()
    assert logger.rows == [(3, {"a": 1.0}, 0.0)]
    assert len(warnings_heard) == 2
    assert "can write again" in warnings_heard[1]
    logger.error = OSError(28, "No space left on device")
    metrics.flush()
    assert len(warnings_heard) == 3


def test_an_error_of_the_users_stops_the_start(logger, warnings_heard):
    logger.error = RunError("the server is not there; set tracking_uri")
    with pytest.raises(RunError, match="set tracking_uri"):
        Metrics([logger], warnings_heard.append).start({})


def test_what_is_missing_in_a_log_is_said_and_the_logger_goes_on(logger, warnings_heard):
    metrics = Metrics([logger], warnings_heard.append)
    logger.error = RunError("metrics.csv holds 2 of the 9 rows")
    metrics.load_state_dict({"ListLogger": {"rows": 9}})
    logger.error = None
    metrics.log(1, {"a": 1.0}, 0.0)
    assert warnings_heard == ["metrics.csv holds 2 of the 9 rows"]
    assert len(logger.rows) == 1


def test_positions_come_back_to_their_own_logger(tmp_path, warnings_heard):
    first, second = ListLogger(tmp_path, "run-1"), ListLogger(tmp_path, "run-1")
    metrics = Metrics([first, second], warnings_heard.append)
    first.rows, second.rows = [1, 2, 3], [1, 2]
    state = metrics.state_dict()
    assert state == {"ListLogger": {"rows": 3}, "ListLogger-2": {"rows": 2}}
    first.rows, second.rows = [1, 2, 3, 4], [1, 2, 3, 4]
    metrics.load_state_dict(state)
    assert (first.rows, second.rows) == ([1, 2, 3], [1, 2])


def test_a_logger_that_failed_keeps_its_last_position(tmp_path, warnings_heard):
    logger = ListLogger(tmp_path, "run-1")
    metrics = Metrics([logger], warnings_heard.append)
    metrics.log(1, {"a": 1.0}, 0.0)
    state = metrics.state_dict()
    logger.error = ValueError("broken")
    metrics.log(2, {"a": 1.0}, 0.0)
    assert metrics.state_dict() == state == {"ListLogger": {"rows": 1}}


def test_a_logger_that_the_checkpoint_does_not_know_begins_anew(logger, warnings_heard):
    Metrics([logger], warnings_heard.append).load_state_dict({"OtherLogger": {"x": 1}})
    assert logger.calls == []
    assert warnings_heard == []


# -- from the run file -------------------------------------------------------------------------

PLUG_IN = '''
from gym_loop.runs.loggers.base import BaseLogger

class Plug(BaseLogger):
    """A plug-in.

    Parameters:
        size (int): Its size.
    """

    @staticmethod
    def get_default_parameters():
        return {"size": 1}

    def log(self, step, scalars, seconds):
        self.last = step

class Broken(Plug):
    def __init__(self, directory, run_id, **parameters):
        raise RuntimeError("no licence")
'''


@pytest.fixture
def plug_in(tmp_path):
    path = tmp_path / "plug.py"
    path.write_text(PLUG_IN)
    return path


def test_csv_and_tensorboard_are_always_there(tmp_path):
    assert [type(logger) for logger in make_loggers(tmp_path, "run-1")] == [
        CsvLogger,
        TensorBoardLogger,
    ]


def test_nothing_heavy_is_imported_before_the_first_metrics(tmp_path):
    script = (
        "import sys, pathlib; from gym_loop.runs.metrics import Metrics, make_loggers;"
        f"metrics = Metrics(make_loggers(pathlib.Path({str(tmp_path)!r}), 'run-1'), print);"
        "metrics.start({'seed': 1});"
        "print([name for name in ('tensorboard', 'google.protobuf', 'numpy', 'torch')"
        " if name in sys.modules]);"
        "metrics.log(1, {'x': 1.0}, 0.0); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    assert output.stdout.splitlines() == ["[]", "False False"]


def test_a_run_file_adds_loggers_by_class_string(tmp_path, plug_in):
    entries = [f"{plug_in}:Plug", {"class": "plug.py:Plug", "parameters": {"size": 4}}]
    loggers = make_loggers(tmp_path, "run-1", entries, search=[plug_in.parent])
    assert [logger.parameters for logger in loggers[2:]] == [{"size": 1}, {"size": 4}]
    assert loggers[3].run_id == "run-1"
    assert loggers[3].directory == tmp_path


@pytest.mark.parametrize(
    ("entry", "place", "problem"),
    [
        (7, "[0]", "must be a class string"),
        ({"klass": "x"}, "[0]", "must be a class string"),
        ({"class": "x:Y", "parms": {}}, "[0]", "parms is unknown"),
        ({"class": "x:Y", "parameters": [1]}, "[0]", "parameters is no mapping"),
        ("PLUG:Plog", "[0].class", "did you mean Plug"),
        ("gym_loop.errors:RunError", "[0].class", "not a logger"),
        ({"class": "PLUG:Plug", "parameters": {"sise": 1}}, "[0].parameters.sise", "size"),
        ({"class": "PLUG:Plug", "parameters": {"size": "x"}}, "[0].parameters.size", "must be int"),
    ],
)
def test_errors_of_the_run_file_name_the_place(plug_in, entry, place, problem):
    if isinstance(entry, str):
        entry = entry.replace("PLUG", str(plug_in))
    elif isinstance(entry, dict) and "class" in entry:
        entry = {**entry, "class": entry["class"].replace("PLUG", str(plug_in))}
    with pytest.raises(ConfigError) as caught:
        logger_classes([entry])
    (finding,) = caught.value.findings
    assert finding.place == f"loop.parameters.loggers{place}"
    assert problem in finding.problem


def test_every_error_is_reported_at_once(plug_in):
    with pytest.raises(ConfigError) as caught:
        logger_classes([7, f"{plug_in}:Plug", "no_such_module_here:Logger"])
    assert [finding.place for finding in caught.value.findings] == [
        "loop.parameters.loggers[0]",
        "loop.parameters.loggers[2].class",
    ]


def test_a_constructor_that_fails_is_named(tmp_path, plug_in):
    with pytest.raises(ConfigError, match="Broken could not be made: RuntimeError: no licence"):
        make_loggers(tmp_path, "run-1", [f"{plug_in}:Broken"])
