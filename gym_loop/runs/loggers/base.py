"""The logger contract: what a class must offer to receive a run's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from gym_loop.schema import parameters as schema
from gym_loop.schema.parameter_values import ParameterValues


class BaseLogger:
    """Receives the metrics of one run.

    Only ``log`` must be written; everything else has a working default. The loop uses a
    logger like this::

        logger = MyLogger(directory, run_id, **parameters)
        if resuming:
            logger.load_state_dict(state)       # go back to where the checkpoint was made
        logger.start(hyperparameters)
        while training:
            logger.log(step, {"train/episode_return": 21.0, ...}, seconds)
            if checkpoint_is_due:
                logger.flush()
                state = logger.state_dict()     # where the log stands now
        logger.close("finished")                # or "stopped", "failed"

    An exception never stops a training that is under way. After an ``OSError`` (a full
    disk, a lost network) the logger is kept and called again; after any other exception it
    is switched off. Each is reported once.

    Args:
        directory: the run's own directory; it exists.
        run_id: the run's name, such as ``run-1``.
        **parameters: what the run file says under the logger's ``parameters``; kept in
            ``self.parameters`` over the defaults.
    """

    Parameters: ClassVar[type[schema.Parameters] | None] = None  # as a loop's

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        schema.derive_defaults(cls)

    def __init__(self, directory: Path, run_id: str, **parameters: Any) -> None:
        self.directory = Path(directory)
        self.run_id = run_id
        self.parameters = ParameterValues(self.get_default_parameters(), **parameters)

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Return the parameters that a run file may set, with their defaults."""
        return {}

    @staticmethod
    def check_parameters(parameters: Mapping[str, Any]) -> dict[str, str]:
        """Return what is wrong with the parameters, by name, beyond unknown names and types."""
        return {}

    def start(self, hyperparameters: Mapping[str, bool | int | float | str]) -> None:
        """Begin a run, or go on with it when ``load_state_dict`` was called before.

        Args:
            hyperparameters: the run's configuration, flat, with dotted keys
                (``agent.parameters.learning_rate``).
        """

    def log(self, step: int, scalars: Mapping[str, float], seconds: float) -> None:
        """Receive the metrics of one moment; called up to thousands of times a second.

        Args:
            step: environment steps taken so far.
            scalars: value of each metric; NaN and infinities occur. The mapping is the
                caller's: copy what is kept.
            seconds: seconds of training so far, counted on over a resume.
        """
        raise NotImplementedError(f"{type(self).__name__} must define log()")

    def flush(self) -> None:
        """Hand on everything that is still held in memory."""

    def close(self, exit_reason: str) -> None:
        """End the run.

        Args:
            exit_reason: ``finished``, ``stopped`` (it can be resumed) or ``failed``.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the last flush as plain data (numbers, strings, lists, dicts)."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a position, dropping what was logged after it.

        Raises:
            RunError: part of what was logged before the position is gone. The logger must
                be usable all the same: the run warns and goes on.
        """
