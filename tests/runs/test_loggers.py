"""The loggers: what is on disk, read back by those who will read it."""

import contextlib
import csv
import json
import math
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from gym_loop.errors import ModuleMissingError, RunError
from gym_loop.runs.loggers import csv_logger
from gym_loop.runs.loggers.append_file import AppendFile
from gym_loop.runs.loggers.csv_logger import CsvLogger
from gym_loop.runs.loggers.mlflow_logger import MLflowLogger
from gym_loop.runs.loggers.tensorboard_logger import TensorBoardLogger
from gym_loop.runs.metrics import Metrics

HYPERPARAMETERS = {
    "seed": 3,
    "agent.class": "gym_loop.agents.ppo:PPO",
    "agent.parameters.learning_rate": 3e-4,
    "loop.parameters.record": True,
}


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond this: a full disk, as far as a writer can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def kill(logger):
    """What the operating system does with the file of a killed process."""
    logger._file.close()


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


# -- a file that grows ---------------------------------------------------------------------------


def test_a_failed_write_leaves_no_part_behind(tmp_path):
    path = tmp_path / "log"
    file = AppendFile(path)
    file.append(b"kept\n")
    with largest_file(4096), pytest.raises(OSError, match="too large"):
        file.append(b"x" * 10_000)
    assert path.read_bytes() == b"kept\n"
    file.append(b"later\n")
    assert path.read_bytes() == b"kept\nlater\n"
    assert file.size == 11
    file.close()
    again = AppendFile(path)
    again.append(b"end\n")
    again.close()
    assert path.read_bytes() == b"kept\nlater\nend\n"


# -- CSV -----------------------------------------------------------------------------------------


def test_csv_columns_are_in_order_of_appearance(tmp_path):
    logger = CsvLogger(tmp_path, "run-1")
    logger.start(HYPERPARAMETERS)
    logger.log(10, {"b": 1.5, "a": 2}, 0.5)
    logger.log(20, {"a": 3, "b": 0.1}, 0.75)
    logger.log(20, {"eval/x": -1e300}, 0.8)
    logger.log(30, {"b": math.nan, "c": math.inf, "a": 0.1 + 0.2}, 61.23456)
    logger.close("finished")
    assert (tmp_path / "metrics.csv").read_text() == (
        "step,seconds,b,a,eval/x,c\n"
        "10,0.500,1.5,2,,\n"
        "20,0.750,0.1,3,,\n"
        "20,0.800,,,-1e+300,\n"
        "30,61.235,nan,0.30000000000000004,,inf\n"
    )


def test_csv_numbers_read_back_exactly(tmp_path):
    values = np.random.default_rng(0).standard_normal(200) * 10.0 ** np.arange(-100, 100)
    logger = CsvLogger(tmp_path, "run-1")
    for step, value in enumerate(values.tolist()):
        logger.log(step, {"x": value}, step * 0.1)
    logger.close("finished")
    assert [float(row[2]) for row in rows_of(tmp_path / "metrics.csv")[1:]] == values.tolist()


def test_csv_names_with_commas_quotes_and_line_breaks_stay_one_cell(tmp_path):
    logger = CsvLogger(tmp_path, "run-1")
    logger.log(1, {'agent/a,"b"': 1.0, "agent/c\nd": 2.0}, 0.0)
    logger.flush()
    logger.log(2, {"late": 3.0}, 2.0)
    state = logger.state_dict()
    logger.close("stopped")
    resumed = CsvLogger(tmp_path, "run-1")
    resumed.load_state_dict(state)
    resumed.log(3, {"agent/c\nd": 4.0}, 3.0)
    resumed.close("finished")
    assert rows_of(tmp_path / "metrics.csv") == [
        ["step", "seconds", 'agent/a,"b"', "agent/c d", "late"],
        ["1", "0.000", "1.0", "2.0", ""],
        ["2", "2.000", "", "", "3.0"],
        ["3", "3.000", "", "4.0", ""],
    ]


def test_csv_is_written_about_once_a_second(tmp_path):
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(tmp_path, "run-1")
    lengths = []
    for tenth in range(31):
        logger.log(tenth, {"x": 1.0}, 100 + tenth / 10)
        lengths.append(len(rows_of(path)) - 1)
    logger.close("finished")
    assert lengths == [1] * 10 + [11] * 10 + [21] * 10 + [31]


def test_csv_stays_right_with_very_many_sets_of_metrics(tmp_path):
    logger = CsvLogger(tmp_path, "run-1")
    names = [f"m{bit}" for bit in range(9)]
    expected = []
    for step in range(512):
        scalars = {
            name: float(step) for bit, name in enumerate(names) if step >> bit & 1 or bit == 0
        }
        expected.append({name: str(value) for name, value in scalars.items()})
        logger.log(step, scalars, step * 0.01)
    logger.close("finished")
    with open(tmp_path / "metrics.csv", newline="") as file:
        read = [
            {name: cell for name, cell in row.items() if name in names and cell}
            for row in csv.DictReader(file)
        ]
    assert read == expected
    assert len(logger._layouts) <= csv_logger.MAX_LAYOUTS


def a_training(step):
    """Metrics whose columns keep appearing."""
    scalars = {"train/episode_return": step * 0.1, "train/episode_length": step}
    if step % 7 == 0:
        scalars["eval/return_mean"] = step / 3
    if step > 25:
        scalars[f"agent/loss{step // 20}"] = 1 / step
    return scalars


def train(metrics, first, last):
    for step in range(first, last):
        metrics.log(step, a_training(step), step * 0.037)


@pytest.mark.parametrize("saved_at", [0, 1, 5, 21, 26, 39, 40, 60])
def test_a_resumed_run_leaves_the_same_csv(tmp_path, saved_at):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for directory in (whole, parts):
        directory.mkdir()
    straight = Metrics([CsvLogger(whole, "run-1")], pytest.fail)
    train(straight, 0, 80)
    straight.close("finished")
    logger = CsvLogger(parts, "run-1")
    killed = Metrics([logger], pytest.fail)
    train(killed, 0, saved_at)
    state = json.loads(json.dumps(killed.state_dict()))
    train(killed, saved_at, 72)
    killed.flush()
    kill(logger)
    with open(parts / "metrics.csv", "ab") as file:
        file.write(b"73,2.7,0.")  # killed in the middle of a write
    resumed = Metrics([CsvLogger(parts, "run-1")], pytest.fail)
    resumed.load_state_dict(state)
    resumed.start(HYPERPARAMETERS)
    train(resumed, saved_at, 80)
    resumed.close("finished")
    assert (parts / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert os.listdir(parts) == ["metrics.csv"]


def test_a_run_killed_before_its_first_checkpoint_begins_the_csv_anew(tmp_path):
    killed = CsvLogger(tmp_path, "run-1")
    killed.log(1, {"old": 1.0}, 0.0)
    kill(killed)
    again = CsvLogger(tmp_path, "run-1")
    again.log(2, {"new": 2.0}, 0.0)
    again.close("finished")
    assert (tmp_path / "metrics.csv").read_text() == "step,seconds,new\n2,0.000,2.0\n"


@pytest.mark.parametrize("damage", ["shorter", "gone"])
def test_csv_rows_that_are_missing_are_reported_and_it_goes_on(tmp_path, damage):
    path = tmp_path / "metrics.csv"
    logger = CsvLogger(tmp_path, "run-1")
    for step in range(5):
        logger.log(step, {"x": 1.0}, step)
    logger.close("stopped")
    if damage == "gone":
        path.unlink()
    else:
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    resumed = CsvLogger(tmp_path, "run-1")
    kept = 0 if damage == "gone" else 2
    with pytest.raises(RunError, match=rf"metrics.csv holds {kept} of the 5 rows"):
        resumed.load_state_dict(logger.state_dict())
    resumed.log(5, {"x": 2.0}, 5)
    resumed.close("finished")
    assert [row[0] for row in rows_of(path)[1:]] == [*map(str, range(kept)), "5"]


def test_csv_loses_nothing_to_a_disk_that_is_full_for_a_while(tmp_path):
    heard = []
    metrics = Metrics([CsvLogger(tmp_path, "run-1")], heard.append)
    train(metrics, 0, 30)
    with largest_file(2048):
        for step in range(30, 200):
            metrics.log(step, {**a_training(step), "late": 1.0}, step * 0.037)
        metrics.flush()
    assert len(heard) == 1
    assert "CsvLogger cannot write now" in heard[0]
    metrics.flush()
    assert "nothing was lost" in heard[1]
    metrics.close("finished")
    assert [row[0] for row in rows_of(tmp_path / "metrics.csv")[1:]] == [*map(str, range(200))]
    assert os.listdir(tmp_path) == ["metrics.csv"]


def test_csv_gives_up_when_too_much_waits_for_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_logger, "MAX_WAITING_ROWS", 100)
    heard = []
    metrics = Metrics([CsvLogger(tmp_path, "run-1")], heard.append)
    with largest_file(10):
        for step in range(300):
            metrics.log(step, {"x": 1.0}, step)
    assert ["cannot write now" in text for text in heard] == [True, False]
    assert "switched off" in heard[1]
    assert "101 rows could not be written" in heard[1]


# -- TensorBoard -----------------------------------------------------------------------------------


def events_of(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0})
    return events.Reload()


def scalars_of(directory):
    events = events_of(directory)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_every_value(tmp_path):
    logger = TensorBoardLogger(tmp_path, "run-1")
    logger.start(HYPERPARAMETERS)
    begun = time.time()
    for step in range(50):
        logger.log(step * 10, a_training(step), step * 0.2)
    logger.log(500, {"agent/loss": math.nan, "agent/big": 1e300, "agent/n": 7}, 10.0)
    logger.close("finished")
    assert len(os.listdir(tmp_path)) == 1
    read = scalars_of(tmp_path)
    for tag in ("train/episode_return", "eval/return_mean", "agent/loss2"):
        expected = [
            (step * 10, pytest.approx(a_training(step)[tag], rel=1e-6))
            for step in range(50)
            if tag in a_training(step)
        ]
        assert read[tag] == expected
    assert math.isnan(read["agent/loss"][0][1])
    assert read["agent/big"] == [(500, math.inf)]
    assert read["agent/n"] == [(500, 7.0)]
    events = events_of(tmp_path)
    assert events.file_version == 2.0
    times = [event.wall_time for event in events.Scalars("train/episode_return")]
    assert times[0] == pytest.approx(begun, abs=5)
    assert np.diff(times) == pytest.approx(0.2, abs=1e-5)


def test_tensorboards_own_reader_accepts_every_record(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.errors import OutOfRangeError
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    logger = TensorBoardLogger(tmp_path, "run-1")
    for step in range(300):
        logger.log(2 ** step.bit_length() * 1000, {"x" * (step + 1): 1.0}, step)
    logger.close("finished")
    (path,) = tmp_path.iterdir()
    reader = PyRecordReader_New(str(path))
    read = []
    with contextlib.suppress(OutOfRangeError):
        while True:  # it checks both checksums of each record
            reader.GetNext()
            read.append(Event.FromString(reader.record()))
    assert read[0].file_version == "brain.Event:2"
    assert [event.summary.value[0].tag for event in read[2:-1]] == [
        "x" * (step + 1) for step in range(300)
    ]


@pytest.mark.parametrize(
    ("reason", "status"), [("finished", "SUCCESS"), ("failed", "FAILURE"), ("stopped", "UNKNOWN")]
)
def test_the_hparams_plugin_parses_hyperparameters_and_the_end(tmp_path, reason, status):
    from tensorboard.plugins.hparams import api_pb2, metadata

    logger = TensorBoardLogger(tmp_path, "run-1")
    logger.start(HYPERPARAMETERS)
    logger.log(1, {"train/episode_return": 1.0}, 0.1)
    logger.close(reason)
    contents = events_of(tmp_path).PluginTagToContent("hparams")
    begun = metadata.parse_session_start_info_plugin_data(contents[metadata.SESSION_START_INFO_TAG])
    assert begun.group_name == "run-1"
    assert {key: value.WhichOneof("kind") for key, value in begun.hparams.items()} == {
        "seed": "number_value",
        "agent.class": "string_value",
        "agent.parameters.learning_rate": "number_value",
        "loop.parameters.record": "bool_value",
    }
    assert begun.hparams["agent.parameters.learning_rate"].number_value == 3e-4
    assert begun.hparams["agent.class"].string_value == "gym_loop.agents.ppo:PPO"
    assert begun.hparams["loop.parameters.record"].bool_value is True
    ended = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG])
    assert ended.status == api_pb2.Status.Value(f"STATUS_{status}")
    assert ended.end_time_secs >= begun.start_time_secs > time.time() - 60


def test_a_resumed_run_shows_one_unbroken_curve_in_one_file(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for directory in (whole, parts):
        directory.mkdir()
    straight = Metrics([TensorBoardLogger(whole, "run-1")], pytest.fail)
    straight.start(HYPERPARAMETERS)
    train(straight, 0, 80)
    straight.close("finished")
    state = None
    for first, saved, end in ((0, 30, 45), (30, 44, 70), (44, 80, 80)):
        metrics = Metrics([TensorBoardLogger(parts, "run-1")], pytest.fail)
        if state is not None:
            metrics.load_state_dict(state)
        metrics.start(HYPERPARAMETERS)
        train(metrics, first, saved)
        state = json.loads(json.dumps(metrics.state_dict()))
        train(metrics, saved, end)
        metrics.close("finished" if end == 80 else "stopped")
        time.sleep(0.01)
    assert len(os.listdir(parts)) == 1
    assert scalars_of(parts) == scalars_of(whole)
    times = [event.wall_time for event in events_of(parts).Scalars("train/episode_return")]
    assert np.diff(times) == pytest.approx(0.037, abs=1e-5)
    sizes = [next(directory.iterdir()).stat().st_size for directory in (whole, parts)]
    assert sizes[0] == sizes[1]


def test_an_event_file_that_is_gone_is_reported_and_a_new_one_begins(tmp_path):
    logger = TensorBoardLogger(tmp_path, "run-1")
    logger.log(1, {"x": 1.0}, 0.0)
    logger.close("stopped")
    (path,) = tmp_path.iterdir()
    os.truncate(path, 20)
    path = path.rename(tmp_path / "events.out.tfevents.1.host.1")
    resumed = TensorBoardLogger(tmp_path, "run-1")
    with pytest.raises(RunError, match=r"holds 20 of the \d+ bytes"):
        resumed.load_state_dict({**logger.state_dict(), "file": path.name})
    resumed.log(2, {"x": 2.0}, 1.0)
    resumed.close("finished")
    path.unlink()
    assert scalars_of(tmp_path) == {"x": [(2, 2.0)]}


def test_tensorboard_loses_nothing_to_a_disk_that_is_full_for_a_while(tmp_path):
    heard = []
    metrics = Metrics([TensorBoardLogger(tmp_path, "run-1")], heard.append)
    metrics.start(HYPERPARAMETERS)
    train(metrics, 0, 30)
    with largest_file(4096):
        train(metrics, 30, 200)
        metrics.flush()
    assert len(heard) == 1
    metrics.close("finished")
    assert len(heard) == 2
    assert len(scalars_of(tmp_path)["train/episode_return"]) == 200


def test_tensorboard_gives_up_when_too_much_waits_for_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("gym_loop.runs.loggers.tensorboard_logger.MAX_WAITING_BYTES", 1000)
    heard = []
    logger = TensorBoardLogger(tmp_path, "run-1")
    metrics = Metrics([logger], heard.append)
    metrics.log(0, {"x": 1.0}, 0.0)
    with largest_file(100):
        for step in range(300):
            metrics.log(step, {"x": 1.0}, step)
    assert ["cannot write now" in text for text in heard] == [True, False]
    assert "switched off" in heard[1]
    assert "bytes could not be written" in heard[1]
    kill(logger)


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


def test_the_tensorboard_application_shows_scalars_and_hyperparameters(tmp_path):
    for run_id, hyperparameters in (("run-1", HYPERPARAMETERS), ("run-2", {"epsilon": 0.1})):
        directory = tmp_path / run_id
        directory.mkdir()
        logger = TensorBoardLogger(directory, run_id)
        logger.start(hyperparameters)
        logger.log(10, {"train/episode_return": 21.0}, 0.1)
        logger.log(20, {"eval/return_mean": 22.5}, 0.2)
        logger.close("finished")
    with tensorboard_application(tmp_path) as url:
        curve = fetched(f"{url}/data/plugin/scalars/scalars?run=run-1&tag=eval%2Freturn_mean")
        experiment = fetched(
            f"{url}/experiment/defaultExperimentId/data/plugin/hparams/experiment",
            {"experimentName": ""},
        )
        columns = [{"hparam": "seed"}, {"hparam": "epsilon"}]
        sessions = fetched(
            f"{url}/experiment/defaultExperimentId/data/plugin/hparams/session_groups",
            {
                "experimentName": "",
                "allowedStatuses": ["STATUS_SUCCESS"],
                "colParams": [
                    *columns,
                    {"metric": {"group": "", "tag": "train/episode_return"}},
                ],
                "aggregationType": "AGGREGATION_AVG",
                "startIndex": 0,
                "sliceSize": 10,
            },
        )
    assert [point[1:] for point in curve] == [[20, 22.5]]
    # Hyperparameters of all runs, though each has its own; and both metrics.
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert names == {*HYPERPARAMETERS, "epsilon"}
    assert {info["name"]["tag"] for info in experiment["metricInfos"]} == {
        "train/episode_return",
        "eval/return_mean",
    }
    groups = {group["name"]: group for group in sessions["sessionGroups"]}
    assert groups["run-1"]["hparams"]["seed"] == 3
    assert groups["run-2"]["hparams"]["epsilon"] == 0.1
    values = {value["name"]["tag"]: value["value"] for value in groups["run-1"]["metricValues"]}
    assert values["train/episode_return"] == 21.0


@contextlib.contextmanager
def tensorboard_application(logdir):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--load_fast", "false"]
    application = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while not runs_shown(url):
            assert application.poll() is None, "TensorBoard ended"
            assert time.monotonic() < deadline, "TensorBoard shows no runs"
            time.sleep(0.1)
        yield url
    finally:
        application.terminate()
        application.wait(10)


def runs_shown(url):
    try:
        return {"run-1", "run-2"} <= fetched(f"{url}/data/plugin/scalars/tags").keys()
    except urllib.error.URLError:
        return False


def fetched(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


# -- MLflow ----------------------------------------------------------------------------------------

# MLflow's own models use what SQLAlchemy 2.1 calls old.
mlflow_warnings = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")


def mlflow_client(uri):
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


@pytest.fixture(params=["sqlite", "directory"])
def tracking_uri(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return str(tmp_path / "mlruns")


@mlflow_warnings
def test_mlflow_has_the_run_and_a_resume_continues_it(tmp_path, tracking_uri):
    client = mlflow_client(tracking_uri)
    state = None
    for first, saved, end in ((0, 30, 45), (30, 60, 60)):
        logger = MLflowLogger(tmp_path, "run-1", tracking_uri=tracking_uri, experiment="mine")
        metrics = Metrics([logger], pytest.fail)
        if state is not None:
            metrics.load_state_dict(state)
        metrics.start(HYPERPARAMETERS)
        run_id = logger.state_dict()["mlflow_run"]
        assert client.get_run(run_id).info.status == "RUNNING"
        train(metrics, first, saved)
        state = json.loads(json.dumps(metrics.state_dict()))
        train(metrics, saved, end)
        metrics.close("finished" if end == 60 else "stopped")
        assert client.get_run(run_id).info.status == ("FINISHED" if end == 60 else "KILLED")
    experiment = client.get_experiment_by_name("mine")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run-1"
    assert run.data.params == {name: str(value) for name, value in HYPERPARAMETERS.items()}
    for tag in ("train/episode_return", "eval/return_mean", "agent/loss2"):
        history = sorted(client.get_metric_history(run_id, tag), key=lambda point: point.step)
        assert [(point.step, point.value) for point in history] == [
            (step, a_training(step)[tag]) for step in range(60) if tag in a_training(step)
        ]


@mlflow_warnings
def test_mlflow_takes_any_name_any_number_and_many_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    logger = MLflowLogger(tmp_path, "run-1")
    logger.start({f"key{number}(x)": number for number in range(250)})
    for step in range(400):
        logger.log(step, {"agent/a,b": step, "nan": math.nan, "train/x": 0.5}, step * 0.001)
    logger.close("failed")
    client = mlflow_client(f"sqlite:///{tmp_path}/other.db")
    experiment = client.get_experiment_by_name("gym-loop")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert len(run.data.params) == 250
    assert run.data.params["key7_x_"] == "7"
    assert len(client.get_metric_history(run.info.run_id, "agent/a_b")) == 400
    assert len(client.get_metric_history(run.info.run_id, "nan")) == 400


@mlflow_warnings
def test_an_mlflow_run_that_was_deleted_is_reported_and_a_new_one_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    logger = MLflowLogger(tmp_path, "run-1", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    heard = []
    metrics = Metrics([logger], heard.append)
    metrics.load_state_dict({"MLflowLogger": {"mlflow_run": "0" * 32}})
    assert len(heard) == 1
    assert "a new one begins" in heard[0]
    metrics.start({})
    metrics.log(1, {"x": 1.0}, 0.0)
    metrics.close("finished")
    assert len(heard) == 1
    run_id = logger.state_dict()["mlflow_run"]
    assert logger._client.get_run(run_id).data.metrics == {"x": 1.0}


def test_an_mlflow_server_that_cannot_be_used_is_named_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    logger = MLflowLogger(tmp_path, "run-1", tracking_uri="carrier-pigeon://roof")
    with pytest.raises(RunError, match=r"MLflow cannot log to carrier-pigeon://roof.*tracking_uri"):
        Metrics([logger], pytest.fail).start({})


def test_without_mlflow_the_pip_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleMissingError, match=r"pip install 'gym-loop\[mlflow\]'"):
        MLflowLogger(tmp_path, "run-1")
