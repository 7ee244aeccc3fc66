"""Runs on a Ray cluster: an actor a run, beside its process; and the user's files go with it."""

from __future__ import annotations

import math
import queue
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gym_loop.config.run_file import RunConfig
from gym_loop.envs.ray_workers import QUIET_RAY, WANTED_RAY, environment, start_ray
from gym_loop.errors import RunError
from gym_loop.training.run_process import RunProcess, Tell, cores

MOST_BYTES = 20_000_000


class RayRuns:
    """Runs on the nodes of a Ray cluster.

    Args:
        config: whose files go to the nodes, where they have none or others.
        address: such as ``192.168.0.1:6379`` or ``auto``; ``local`` starts Ray on this machine.
        cpu: cores that a run takes.
        gpu: GPUs that a run takes; may be a fraction.

    Raises:
        RunError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, config: RunConfig, address: str, cpu: float, gpu: float) -> None:
        self.cpu, self.gpu = cpu, gpu
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray's own
                import ray
        except ImportError:
            raise RunError('runs on Ray need Ray: pip install "gym-loop[ray]"') from None
        self._ray = ray
        files = read_files(named_files(config))
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            try:
                with environment(QUIET_RAY | WANTED_RAY), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    start_ray(None if address == "local" else address, cores())
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                reason = str(error).partition("\n")[0]
                raise RunError(f"Ray at {address} could not be reached: {reason}") from error
        self._files = ray.put(files)
        # Two at a time: it takes signals while its run trains.
        self._actor = ray.remote(num_cpus=cpu, num_gpus=gpu, max_concurrency=2)(RunActor)

    def room(self) -> int:
        """How many runs the nodes have room for at once."""
        found = 0
        for has in self._nodes():
            by_gpu = has.get("GPU", 0.0) / self.gpu if self.gpu else math.inf
            found += int(min(has.get("CPU", 0.0) / self.cpu, by_gpu) + 1e-9)
        return found

    def most(self) -> str:
        """What there is, for messages."""
        cpu, gpu = (max(has.get(key, 0) for has in self._nodes()) for key in ("CPU", "GPU"))
        return f"the largest node has {cpu:g} and {gpu:g}"

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def prepare(self, count: int) -> None:
        """Nothing: where a run will be, Ray decides when it begins."""

    def begin(self, job: Mapping[str, Any], tell: Tell) -> RayRun:
        """Begin a run, as soon as a node has room for it."""
        return RayRun(self._ray, self._actor.remote(), dict(job), self._files, tell)

    def end(self, process: RayRun) -> None:
        """End the actor of a run."""
        process.is_over = True
        process.kill()

    def close(self) -> None:
        """Leave the cluster; stop it, if it was started here."""
        if self._is_ours:
            self._ray.shutdown()


class RayRun:
    """A run with its actor, as its driver sees it.

    Args:
        ray: the module.
        actor: a `RunActor`, which may have to wait for room.
        job: of the run.
        files: see `read_files`.
        tell: hears its messages; ``lost`` is the last one if its node is.
    """

    def __init__(self, ray: Any, actor: Any, job: dict[str, Any], files: Any, tell: Tell) -> None:
        self._ray, self._actor, self._tell = ray, actor, tell
        self._has_begun = False
        self.is_over = False
        answers = actor.train.options(num_returns="streaming").remote(job, files)
        threading.Thread(target=self._listen, args=(answers,), daemon=True).start()

    def signal(self, signum: int) -> None:
        """Send a signal; what has not begun yet never will."""
        if self._has_begun:
            self._actor.signal.remote(int(signum))
        else:
            self.kill()

    def kill(self) -> None:
        """End the actor, and with it what it runs."""
        self._ray.kill(self._actor)

    def _listen(self, answers: Any) -> None:
        try:
            for answer in answers:
                told = self._ray.get(answer)
                self._has_begun = True
                self._tell(told)
        except Exception as error:  # noqa: BLE001 - whatever Ray calls the end of an actor
            if not self.is_over:
                self._tell({"lost": str(error)})


class RunActor:
    """Stands beside the process of a run, on its node."""

    def __init__(self) -> None:
        self._process: RunProcess | None = None

    def train(self, job: dict[str, Any], files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
        """Begin the process, and pass on what it tells, until it has ended."""
        heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with tempfile.TemporaryDirectory(prefix="gym-loop-") as place:
            job["files"] = unpack(files, Path(place))
            self._process = RunProcess(job["threads"])
            yield {}
            self._process.train(job, heard.put)
            while "ended" not in (told := heard.get()):
                yield told
        yield told

    def signal(self, signum: int) -> None:
        """Pass on a signal."""
        if self._process is not None:
            self._process.signal(signum)


# -- the files of the user ------------------------------------------------------------------------


def named_files(config: RunConfig) -> list[Path]:
    """Every ``.py`` file that the config names, absolute."""
    found: list[Path] = []
    _collect(config.portable().as_dict(), found)
    return list(dict.fromkeys(found))


def _collect(value: Any, found: list[Path]) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, str):
        file = f"{value.partition('.py:')[0]}.py" if ".py:" in value else value
        if file.endswith(".py") and Path(file).is_file():
            found.append(Path(file))


def read_files(files: Iterable[Path]) -> dict[str, bytes]:
    """The content of files, and of the modules beside them that they may import, by path.

    Raises:
        RunError: there is too much of it.
    """
    found: dict[str, bytes] = {}
    size = 0
    for folder in dict.fromkeys(file.parent for file in files):
        for file in _modules(folder):
            size += file.stat().st_size
            if size > MOST_BYTES:
                raise RunError(
                    f"the .py files beside those of the run file, such as {file}, are more than"
                    f" {MOST_BYTES // 1_000_000} MB: move yours to a folder of their own"
                )
            found[str(file)] = file.read_bytes()
    return found


def _modules(folder: Path) -> Iterator[Path]:
    """The modules of a folder, and of the packages in it."""
    yield from sorted(folder.glob("*.py"))
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").is_file():
            yield from _modules(inner)


def unpack(files: Mapping[str, bytes], place: Path) -> dict[str, str]:
    """Write the files that are missing here, or others, to a place; their copies by path.

    Args:
        files: see `read_files`.
        place: an empty directory.
    """
    copies = {}
    for name, content in files.items():
        copy = place / Path(name).relative_to("/")  # as they were, so that they find each other
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        if not _holds(Path(name), content):
            copies[name] = str(copy)
    return copies


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
