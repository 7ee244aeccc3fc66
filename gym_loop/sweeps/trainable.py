"""A trial as Ray Tune runs it: an actor that watches the runs and passes on their evaluations."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from gym_loop.runs.directory import directories
from gym_loop.schema.yaml_file import read_yaml
from gym_loop.sweeps.population import copy_of, load_members, original, save_members
from gym_loop.sweeps.records import STOP
from gym_loop.sweeps.trial import Nursery, Order, Trial

LONGEST_START = 20.0  # seconds that an actor may take
PARCEL = "gym_loop_parcel"  # the package that a sweep's files travel in
CONTENTS = "contents.json"


def trainable_class() -> type[Any]:
    """The class; made here because Ray is imported only by those who sweep."""
    from ray import tune

    class SweepTrial(tune.Trainable):  # type: ignore[misc]
        """One trial; its actor, and the nursery with it, goes on to the next."""

        nursery: Nursery | None = None
        trial: Trial | None = None
        has_waited = False

        def setup(self, config: dict[str, Any]) -> None:
            """Take a config: the order, and the reports that there are already."""
            order = Order(**{**config["order"], "runs": _with_numbers(config["order"]["runs"])})
            self.replies = list(config["reports"])
            self.crew, self.present = config["crew"], Path(order.stop).parent / "ray" / "actors"
            self.present.mkdir(parents=True, exist_ok=True)
            (self.present / f"{platform.node()}-{os.getpid()}").touch()
            if self.nursery is None:
                self.nursery = Nursery(order.classes)
            self.trial = Trial(order, self.nursery, travelled_files())

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            """Begin another trial in the same actor."""
            self._stop_trial()
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            """The next evaluation: of those that were made before, else of those to come."""
            assert self.trial is not None
            result = self.replies.pop(0) if self.replies else self.trial.report()
            if result["done"] and not self.has_waited:
                self._wait_for_the_others()
            return result

        def _wait_for_the_others(self) -> None:
            """Let all actors come up before the first trial ends.

            Else Tune gives this actor to a trial that waits for its own, and stops that one in the
            middle of its start: trials shorter than a start would all go through one actor.
            """
            self.has_waited = True
            until = time.monotonic() + LONGEST_START
            stop = self.present.parent.parent / STOP
            while len(list(self.present.iterdir())) < self.crew and not stop.exists():
                if time.monotonic() > until:
                    break
                time.sleep(0.05)

        def cleanup(self) -> None:
            """Let the runs save; end."""
            self._stop_trial()
            if self.nursery is not None:
                self.nursery.close()
                self.nursery = None

        def _stop_trial(self) -> None:
            if self.trial is not None:
                self.trial.stop()
                self.trial = None

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
            """Say which runs to go on from: their checkpoints are the state."""
            assert self.trial is not None
            return {"runs": list(self.trial.order.runs.values())}

        def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
            """Nothing: runs go on from their own checkpoints."""

    return SweepTrial


def member_class() -> type[Any]:
    """The same for population-based training, whose trials go on as copies of others."""
    base: Any = trainable_class()

    class Member(base):  # type: ignore[misc]
        """One member of a population; its runs begin with its first step, when all is known."""

        nursery: Nursery | None
        trial: Trial | None

        def setup(self, config: dict[str, Any]) -> None:
            """Take a config: the orders of all members, our values, and the run file with them."""
            mine = config["orders"][int(self.trial_id.rpartition("_")[2])]
            self.order = Order(
                **{**mine, "config": config["config"], "runs": _with_numbers(mine["runs"])}
            )
            self.chosen = config["chosen"]
            self.origins: dict[int, dict[str, str]] = {}

        def step(self) -> dict[str, Any]:
            """The next evaluation of our runs, which then wait."""
            if self.trial is None:
                if self.nursery is None:
                    self.nursery = Nursery(self.order.classes)
                trial = Trial(self.order, self.nursery, travelled_files())
                trial.origins = self.origins
                self.trial = trial
            result = self.trial.report()
            return {**result, "runs": self.order.runs, "chosen": self.chosen}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Copy the checkpoints of our runs, which wait at an evaluation."""
            assert self.trial is not None
            parents = self._checkpoints()
            save_members(Path(checkpoint_dir), self.order.runs, parents, self.trial.reported)

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Go on from checkpoints: our own runs' as they are, another's as a copy."""
            runs, checkpoints, when = load_members(Path(checkpoint))
            ours = self.order.runs
            if {*map(original, ours.values())} == {*map(original, runs.values())}:
                self.order.runs = runs
                return
            resumes = self.order.resumes
            self.order.runs = {seed: copy_of(run, when, resumes) for seed, run in ours.items()}
            self.origins = {
                seed: {"run": runs[seed], "checkpoint": os.fspath(checkpoints[seed])}
                for seed in runs
            }

        def _checkpoints(self) -> Path:
            parameters = read_yaml(self.order.config).data["loop"]["parameters"]
            return Path(self.order.directory) / directories(parameters)["checkpoint_dir"]

    return Member


def _with_numbers(runs: dict[Any, str]) -> dict[int, str]:
    return {int(seed): run for seed, run in runs.items()}


def travelled_files() -> dict[str, str]:
    """Copies of files of the user, by their path where they come from, that are missing here."""
    spec = importlib.util.find_spec(PARCEL)
    if spec is None or not spec.submodule_search_locations:
        return {}
    place = Path(next(iter(spec.submodule_search_locations)))
    contents = json.loads((place / CONTENTS).read_text("utf-8"))
    return {
        original: os.fspath(place / copy)
        for original, copy in contents.items()
        if not _same(Path(original), place / copy)
    }


def _same(one: Path, other: Path) -> bool:
    try:
        return one.read_bytes() == other.read_bytes()
    except OSError:
        return False
