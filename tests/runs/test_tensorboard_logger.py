"""The event file, read back by TensorBoard's own reader, plugins and application."""

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from gym_loop.errors import RunError
from gym_loop.runs.loggers.tensorboard_logger import TensorBoardLogger
from gym_loop.runs.metrics import Metrics
from tests.runs.full_disk import largest_file
from tests.runs.made_up_training import HYPERPARAMETERS, kill, scalars_at, train
from tests.signalling import begin


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
        logger.log(step * 10, scalars_at(step), step * 0.2)
    logger.log(500, {"agent/loss": math.nan, "agent/big": 1e300, "agent/n": 7}, 10.0)
    logger.close("finished")
    assert len(os.listdir(tmp_path)) == 1
    read = scalars_of(tmp_path)
    for tag in ("train/episode_return", "eval/return_mean", "agent/loss2"):
        expected = [
            (step * 10, pytest.approx(scalars_at(step)[tag], rel=1e-6))
            for step in range(50)
            if tag in scalars_at(step)
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
    with pytest.raises(RunError, match=r"no event file .* holds the \d+ bytes"):
        resumed.load_state_dict(logger.state_dict())
    resumed.log(2, {"x": 2.0}, 1.0)
    resumed.close("finished")
    path.unlink()
    assert scalars_of(tmp_path) == {"x": [(2, 2.0)]}


def test_an_older_position_is_found_in_its_own_file(tmp_path):
    older = TensorBoardLogger(tmp_path, "run-1")
    older.log(1, {"x": 1.0}, 0.0)
    older.close("stopped")
    (path,) = tmp_path.iterdir()
    path = path.rename(tmp_path / "events.out.tfevents.1.host.1")
    state = older.state_dict()
    newer = TensorBoardLogger(tmp_path, "run-1")
    for step in range(9):
        newer.log(step, {"x": 2.0}, 0.0)
    newer.close("finished")
    resumed = TensorBoardLogger(tmp_path, "run-1")
    resumed.load_state_dict(state)
    resumed.log(3, {"x": 3.0}, 2.0)
    resumed.close("finished")
    assert len(os.listdir(tmp_path)) == 2
    assert path.stat().st_size > state["bytes"]


@pytest.mark.parametrize("extra", [{}, {"file": ""}], ids=["names no file", "names one"])
@pytest.mark.parametrize("size", [0, 3, 10**9, -1, "3", None, 1e999])
def test_a_position_from_elsewhere_cuts_nothing_outside_the_run(tmp_path, extra, size):
    outside = tmp_path / "precious"
    outside.write_text("do not cut")
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.out.tfevents.1.host.1").symlink_to(outside)
    os.mkfifo(run / "events.out.tfevents.2.host.2")
    logger = TensorBoardLogger(run, "run-1")
    state = {"bytes": size, "started_at": 1.0, **{key: str(outside) for key in extra}}
    with pytest.raises(RunError):
        logger.load_state_dict(state)
    logger.log(1, {"x": 1.0}, 0.0)
    logger.close("finished")
    assert outside.read_text() == "do not cut"
    assert len(list(run.iterdir())) == 3


def test_tensorboard_loses_nothing_to_a_disk_that_is_full_for_a_while(tmp_path):
    heard: list[str] = []
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
    heard: list[str] = []
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


# -- the application -------------------------------------------------------------------------------


def fetched(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def runs_shown(url):
    try:
        return {"run-1", "run-2"} <= fetched(f"{url}/data/plugin/scalars/tags").keys()
    except urllib.error.URLError:
        return False


@contextlib.contextmanager
def tensorboard_application(logdir):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--load_fast", "false"]
    application = begin([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
