"""One log call to many loggers, none of which can stop a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gym_loop.errors import ClassLoadError, ConfigError, Finding, GymLoopError, RunError
from gym_loop.runs.loggers.base import BaseLogger
from gym_loop.schema.class_strings import load_class
from gym_loop.schema.parameters import check_parameters

_PLAIN_TYPES = {float, int}


class Metrics:
    """Hands every metric to every logger.

    In a resumed run ``start`` is given the state, or ``load_state_dict`` is called before it.

    Args:
        loggers: where the metrics go.
        warn: called with one sentence whenever something is wrong, once a cause.
    """

    def __init__(self, loggers: Sequence[BaseLogger], warn: Callable[[str], None]) -> None:
        self._loggers = _named(loggers)
        self._warn = warn
        self._failing: set[str] = set()  # loggers whose last write failed
        self._reported: set[str] = set()  # metrics that were warned about
        self._positions: dict[str, Any] = {}
        self._at_end: list[Callable[[], None]] = []

    def start(
        self,
        hyperparameters: Mapping[str, bool | int | float | str],
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin the run, or go on with it.

        Our own loggers come last: where one of the user's refuses, our files are as they were.

        Args:
            hyperparameters: the config, flat.
            state: of a checkpoint to go on from: see `load_state_dict`.

        Raises:
            GymLoopError: a logger found an error of the user's (a missing package, say).
        """
        for name, logger in reversed(self._loggers.items()):
            if state is not None and name in state:
                self._load(name, logger, state[name])
            if name in self._loggers:  # not switched off since
                try:
                    logger.start(hyperparameters)
                except GymLoopError:
                    raise
                except Exception as error:  # noqa: BLE001 - a logger must not stop a training
                    self._failed(name, error)

    def leave_to_end(self, write: Callable[[], None]) -> None:
        """Have something written after the last checkpoint, which a longer run goes on from."""
        self._at_end.append(write)

    def write_what_was_left(self) -> None:
        """Do what was left to the end."""
        while self._at_end:
            self._at_end.pop(0)()

    def log(self, step: int, scalars: Mapping[str, float], seconds: float) -> None:
        """Log the metrics of one moment.

        Args:
            step: environment steps taken so far.
            scalars: value of each metric; NumPy and PyTorch scalars are converted, what is
                no number is left out, NaN and infinities are logged and warned about.
            seconds: seconds of training so far, counted on over a resume.
        """
        if not _PLAIN_TYPES.issuperset(map(type, scalars.values())):
            scalars = self._as_numbers(scalars)
        try:
            # One sum sees every NaN and infinity. (It may itself overflow: told apart there.)
            if not math.isfinite(sum(scalars.values())):
                self._report_not_finite(step, scalars)
        except OverflowError:  # an int beyond every float
            scalars = self._as_numbers(scalars)
        if not scalars:
            return
        for name, logger in self._loggers.items():
            try:
                logger.log(step, scalars, seconds)
            except Exception as error:  # noqa: BLE001 - a logger must not stop a training
                self._failed(name, error)

    def flush(self) -> None:
        """Hand on everything that loggers still hold in memory."""

        def flush(name: str, logger: BaseLogger) -> None:
            logger.flush()
            if name in self._failing:
                self._failing.discard(name)
                self._warn(f"{name} can write again; nothing was lost")

        self._each(flush)

    def close(self, exit_reason: str) -> None:
        """End the run."""
        self.flush()
        self._each(lambda name, logger: logger.close(exit_reason))

    def state_dict(self) -> dict[str, Any]:
        """Flush, and return every logger's position."""
        self.flush()
        self._each(lambda name, logger: self._positions.update({name: logger.state_dict()}))
        return dict(self._positions)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Drop from every log what is past this position.

        A logger that the state doesn't know was added since; it begins here.
        """
        for name, logger in self._loggers.items():
            if name in state:
                self._load(name, logger, state[name])

    def _each(self, act: Callable[[str, BaseLogger], None]) -> None:
        for name, logger in self._loggers.items():
            try:
                act(name, logger)
            except Exception as error:  # noqa: BLE001 - a logger must not stop a training
                self._failed(name, error)

    def _load(self, name: str, logger: BaseLogger, position: Any) -> None:
        self._positions[name] = position
        try:
            if not isinstance(position, Mapping):
                raise RunError(f"the position of {name} is damaged; it begins anew")
            logger.load_state_dict(position)
        except RunError as error:
            self._warn(str(error))
        except Exception as error:  # noqa: BLE001 - a logger must not stop a training
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        """Report a failure once; only after an OSError does the logger get another chance."""
        reason = f"{type(error).__name__}: {error}"
        if not isinstance(error, OSError):
            self._loggers = {key: item for key, item in self._loggers.items() if key != name}
            self._warn(f"{name} failed and is switched off for this run: {reason}")
        elif name not in self._failing:
            self._failing.add(name)
            self._warn(f"{name} cannot write now and will try again: {reason}")

    def _as_numbers(self, scalars: Mapping[str, Any]) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name, value in scalars.items():
            number = as_number(value)
            if number is not None:
                numbers[name] = number
            elif name not in self._reported:
                self._reported.add(name)
                text = " ".join(repr(value).split())
                text = text if len(text) <= 60 else f"{text[:57]}..."
                self._warn(
                    f"metric {name} is left out: {text} is not a number; "
                    "give a float, an int or a scalar array"
                )
        return numbers

    def _report_not_finite(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            if not math.isfinite(value) and name not in self._reported:
                self._reported.add(name)
                self._warn(
                    f"metric {name} is {value} at step {step}; it is logged as it is, "
                    "and this is said once"
                )


def make_loggers(
    directory: Path, run_id: str, entries: Sequence[Any] = (), search: Sequence[Path] = ()
) -> list[BaseLogger]:
    """Make the loggers of a run: CSV, TensorBoard, and those that its run file adds.

    Args:
        directory: the run's directory of logs; it exists.
        run_id: the run's name.
        entries: what the run file says under ``loggers``; see `logger_classes`.
        search: directories that a relative path of a class string is tried in.

    Raises:
        ConfigError: an entry is wrong, or its class cannot be made.
    """
    from gym_loop.runs.loggers.csv_logger import CsvLogger
    from gym_loop.runs.loggers.tensorboard_logger import TensorBoardLogger

    loggers: list[BaseLogger] = [
        CsvLogger(directory, run_id),
        TensorBoardLogger(directory, run_id),
    ]
    for number, (cls, parameters) in enumerate(logger_classes(entries, search)):
        try:
            loggers.append(cls(directory, run_id, **parameters))
        except Exception as error:
            problem = str(error)
            if not isinstance(error, GymLoopError):
                problem = f"{cls.__name__} could not be made: {type(error).__name__}: {problem}"
            raise ConfigError([Finding(_place(number), problem)]) from error
    return loggers


def logger_classes(
    entries: Sequence[Any], search: Sequence[Path] = ()
) -> list[tuple[type[BaseLogger], dict[str, Any]]]:
    """Find the class of every logger that a run file names, and check its parameters.

    Args:
        entries: each a class string, or a mapping of ``class`` and ``parameters``.
        search: directories that a relative path of a class string is tried in.

    Raises:
        ConfigError: with everything that is wrong.
    """
    found, findings = [], []
    for number, entry in enumerate(entries):
        place = _place(number)
        if isinstance(entry, str):
            entry = {"class": entry}
        if not isinstance(entry, Mapping) or not isinstance(entry.get("class"), str):
            findings.append(Finding(place, "must be a class string, or class and parameters"))
            continue
        unknown = sorted(map(str, entry.keys() - {"class", "parameters"}))
        given = entry.get("parameters") or {}
        if unknown or not isinstance(given, Mapping):
            problem = f"{unknown[0]} is unknown; " if unknown else "parameters is no mapping; "
            findings.append(Finding(place, f"{problem}write class and a mapping of parameters"))
            continue
        try:
            cls = load_class(entry["class"], BaseLogger, kind="logger", search=search)
        except ClassLoadError as error:
            findings.append(Finding(f"{place}.class", str(error)))
            continue
        parameters, problems = check_parameters(cls, given)
        findings += [Finding(f"{place}.parameters.{name}", text) for name, text in problems.items()]
        found.append((cls, parameters))
    if findings:
        raise ConfigError(findings)
    return found


def _place(number: int) -> str:
    return f"loop.parameters.loggers[{number}]"


def _named(loggers: Sequence[BaseLogger]) -> dict[str, BaseLogger]:
    """Name loggers by their class; the second of a class gets ``-2``."""
    named: dict[str, BaseLogger] = {}
    for logger in loggers:
        name = type(logger).__name__
        same = sum(type(other).__name__ == name for other in named.values())
        named[f"{name}-{same + 1}" if same else name] = logger
    return named


def as_number(value: Any) -> float | None:
    """Return a plain number, or None for what is neither a number nor a scalar array."""
    if isinstance(value, (str, bytes)) or getattr(value, "ndim", 0) != 0:
        return None
    if hasattr(value, "detach"):  # a torch scalar that still carries its graph
        value = value.detach()
    try:
        number = float(value)
    except Exception:  # noqa: BLE001 - whatever a foreign type raises, it is no number
        return None
    return value if type(value) is int else number
