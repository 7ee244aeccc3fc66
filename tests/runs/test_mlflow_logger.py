"""Runs in MLflow, as its own client shows them."""

import json
import math

import pytest

from gym_loop.errors import ModuleMissingError, RunError
from gym_loop.runs.loggers.mlflow_logger import MLflowLogger
from gym_loop.runs.metrics import Metrics
from tests.runs.made_up_training import HYPERPARAMETERS, scalars_at, train

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
            (step, scalars_at(step)[tag]) for step in range(60) if tag in scalars_at(step)
        ]


@mlflow_warnings
def test_mlflow_takes_any_name_any_number_and_many_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    logger = MLflowLogger(tmp_path, "run-1")
    logger.start({f"key{number}(x)": number for number in range(250)})
    scalars = {"agent/a,b": 0.0, "nan": math.nan, "train/x": 0.5}
    with pytest.warns(UserWarning, match=r"'agent/a,b'.*'agent/a_b'"):
        logger.log(0, scalars, 0.0)
    for step in range(1, 400):
        logger.log(step, {**scalars, "agent/a,b": step}, step * 0.001)
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
    heard: list[str] = []
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


@mlflow_warnings
def test_every_metric_arrives_under_a_legal_name_of_its_own(tmp_path, tracking_uri):
    client = mlflow_client(tracking_uri)
    names = ["a//b", "a/", "../x", "/y", ".", "..", "a?b", "a!b", "a/./b"]
    names += ["x" * 300, "x" * 299 + "y"]
    state = None
    for first in (0, 3):
        logger = MLflowLogger(tmp_path, "run-1", tracking_uri=tracking_uri)
        if state is not None:
            logger.load_state_dict(state)
        logger.start({"a?": 1, "a!": 2})
        for step in range(first, first + 3):
            scalars = {name: float(number) for number, name in enumerate(names)}
            if step:
                logger.log(step, scalars, 0.0)
                continue
            with pytest.warns(UserWarning, match="MLflow takes no metric") as caught:
                logger.log(step, scalars, 0.0)
            assert len(caught) == len(names)
        logger.close("finished")
        state = json.loads(json.dumps(logger.state_dict()))
    assert state is not None
    run = client.get_run(state["mlflow_run"])
    assert sorted(run.data.metrics.values()) == [float(number) for number in range(len(names))]
    assert sorted(run.data.params.values()) == ["1", "2"]
    for key in run.data.metrics:
        history = client.get_metric_history(state["mlflow_run"], key)
        assert sorted(point.step for point in history) == list(range(6))
