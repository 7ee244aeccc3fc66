"""MLflow: the metrics and hyperparameters as a run of a tracking server or a local database."""

from __future__ import annotations

import importlib.util
import os
import re
import time
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gym_loop.errors import ModuleMissingError, RunError
from gym_loop.runs.loggers.base import BaseLogger

FLUSH_SECONDS = 5.0
MAX_METRICS = 1000  # in one request, MLflow's own limits
MAX_NAME = 250  # characters
MAX_PARAMS = 100
STATUS = {"finished": "FINISHED", "failed": "FAILED"}


class MLflowLogger(BaseLogger):
    """Logs to MLflow; in a run file it is ``gym_loop.runs.loggers.mlflow_logger:MLflowLogger``.

    A resumed run goes on in the same MLflow run. MLflow cannot delete points: those after
    the checkpoint stay, and steps that it already has are not sent a second time.

    MLflow takes about 0.05 ms for each value. When it fails, after its own retries, it is
    switched off for the rest of the run.

    Args:
        directory: the run's own directory; nothing is written there.
        run_id: name of the MLflow run.
        **parameters: see Parameters.

    Raises:
        ModuleMissingError: MLflow is not installed.

    Parameters:
        experiment (str): Name of the experiment; it is made when missing.
        tracking_uri (str): Such as sqlite:///mlflow.db or http://host:5000; empty for what
            MLflow is configured with.
    """

    def __init__(self, directory: Path, run_id: str, **parameters: Any) -> None:
        super().__init__(directory, run_id, **parameters)
        if importlib.util.find_spec("mlflow") is None:
            raise ModuleMissingError(
                "MLflowLogger needs MLflow, which is not installed: pip install 'gym-loop[mlflow]'"
            )
        self._client: Any = None
        self._mlflow_run = ""
        self._waiting: list[Any] = []
        self._flush_at = 0.0
        self._names: dict[str, str] = {}  # of metrics, here -> in MLflow
        self._sent: dict[str, int] = {}  # last step that a resumed run had sent

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """MLflow's own choice of server, and an experiment named after this package."""
        return {"tracking_uri": "", "experiment": "gym-loop"}

    def start(self, hyperparameters: Mapping[str, bool | int | float | str]) -> None:
        """Begin an MLflow run with these parameters, or go on in the one of before.

        Raises:
            RunError: MLflow cannot log there.
        """
        client = self._connect()
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException

        try:
            if self._mlflow_run:
                client.update_run(self._mlflow_run, status="RUNNING")
                return
            run = client.create_run(self._experiment(client), run_name=self.run_id)
            self._mlflow_run = run.info.run_id
            names: dict[str, str] = {}
            pairs = hyperparameters.items()
            params = [Param(_named(names, key), str(value)) for key, value in pairs]
            for first in range(0, len(params), MAX_PARAMS):
                client.log_batch(self._mlflow_run, params=params[first : first + MAX_PARAMS])
        except MlflowException as error:
            raise self._unusable(error) from error

    def log(self, step: int, scalars: Mapping[str, float], seconds: float) -> None:
        """Add the values; they are sent about five seconds later at most."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        for name, value in scalars.items():
            if (key := self._names.get(name)) is None:
                key = _named(self._names, name)
                if key != name:
                    text = f"MLflow takes no metric named {name!r}: it is {key!r} there"
                    warnings.warn(text, stacklevel=2)
            if step > self._sent.get(key, -1):
                self._waiting.append(Metric(key, value, now, step))
        if seconds >= self._flush_at or len(self._waiting) >= MAX_METRICS:
            self._flush_at = seconds + FLUSH_SECONDS
            self.flush()

    def flush(self) -> None:
        """Send the waiting values."""
        while self._waiting:
            self._client.log_batch(self._mlflow_run, metrics=self._waiting[:MAX_METRICS])
            del self._waiting[:MAX_METRICS]

    def close(self, exit_reason: str) -> None:
        """Send the waiting values and end the MLflow run."""
        self.flush()
        self._client.set_terminated(self._mlflow_run, STATUS.get(exit_reason, "KILLED"))

    def state_dict(self) -> dict[str, Any]:
        """Return the id of the MLflow run, and the names of the metrics there."""
        return {"mlflow_run": self._mlflow_run, "names": dict(self._names)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on in an MLflow run.

        Raises:
            RunError: MLflow doesn't have this run; a new one begins.
        """
        client = self._connect()
        from mlflow.exceptions import MlflowException

        run_id = state.get("mlflow_run")
        if not isinstance(run_id, str) or not re.fullmatch(r"\w[\w-]*", run_id):
            raise RunError("what was saved names no run of MLflow; a new one begins")
        try:
            for key in client.get_run(run_id).data.metrics:
                history = client.get_metric_history(run_id, key)
                self._sent[key] = max(metric.step for metric in history)
        except MlflowException as error:
            problem = f"MLflow has no run {run_id} to go on with ({error}); a new one begins"
            raise RunError(problem) from error
        self._mlflow_run = run_id
        self._names = dict(state.get("names", {}))

    def _connect(self) -> Any:
        if self._client is None:
            # A training reports to the server that was chosen for it, and to nobody else.
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient

            try:
                self._client = MlflowClient(self.parameters["tracking_uri"] or None)
            except (MlflowException, ImportError) as error:
                raise self._unusable(error) from error
        return self._client

    def _experiment(self, client: Any) -> str:
        name = str(self.parameters["experiment"])
        found = client.get_experiment_by_name(name)
        return str(found.experiment_id if found else client.create_experiment(name))

    def _unusable(self, error: Exception) -> RunError:
        place = self.parameters["tracking_uri"] or "its default place (tracking_uri is not set)"
        return RunError(
            f"MLflow cannot log to {place}: {error}; set the logger's tracking_uri, or "
            "complete its installation with: pip install 'gym-loop[mlflow]'"
        )


def _named(names: dict[str, str], name: str) -> str:
    """Add a name to those that are in use, with what is legal and not taken in MLflow."""
    key = _legal(name)
    if key in names.values():
        key = f"{key[: MAX_NAME - 9]}_{zlib.crc32(name.encode('utf-8', 'replace')):08x}"
    names[name] = key
    return key


def _legal(name: str) -> str:
    """Replace what MLflow refuses in a name: characters, and parts that name no file."""
    name = re.sub(r"[^\w/.: -]", "_", name)
    if {"", ".", ".."} & {*name.split("/")}:
        name = name.replace("/", "_").replace(".", "_") or "_"
    return name[:MAX_NAME]
