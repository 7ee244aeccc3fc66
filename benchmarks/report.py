"""How long a report of many runs takes, beside TensorBoard's loading of the same runs.

100 runs of 10,000 log rows are written by our own loggers: 14 metrics, of which 5 belong to an
evaluation every 100 rows. Then, in turn, each in a process of its own: `gym-loop report` of all of
them; the same with its CSV tables; TensorBoard's EventAccumulator over the event files, with the
default size guidance, by which it keeps 10,000 points of each scalar; and the `tensorboard`
command with its own data server (written in Rust, 1,000 points of each scalar), until its pages
could show the last step of every run. Time is wall-clock from the start of the process to its
end, or to that moment; memory is the highest resident set of the process, the data server's added.

    python benchmarks/report.py [--runs 100] [--rows 10000] [--turns 3] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from functools import partial
from pathlib import Path

import numpy as np
from _measure import surroundings, table

from gym_loop.config.presets import preset_config
from gym_loop.config.run_file import load_config
from gym_loop.runs.loggers.csv_logger import CsvLogger
from gym_loop.runs.loggers.tensorboard_logger import TensorBoardLogger

AGENT = ("policy_loss", "value_loss", "entropy", "approximate_kl", "clip_fraction", "updates")
EVALUATION = ("return_mean", "return_std", "return_median", "return_min", "return_max")
GROUPS = 10
TENSORBOARD = """
import sys
from pathlib import Path
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
kept = []
for directory in sorted(Path("logs").iterdir()):
    events = EventAccumulator(str(directory))
    events.Reload()
    kept.append({tag: events.Scalars(tag) for tag in events.Tags()["scalars"]})
print(sum(len(points) for run in kept for points in run.values()))
"""
SIDES = {
    "gym-loop report": ["-m", "gym_loop", "report", "logs", "--force"],
    "gym-loop report --csv": ["-m", "gym_loop", "report", "logs", "--force", "--csv", "numbers"],
    "TensorBoard's EventAccumulator": ["-c", TENSORBOARD],
}


def write_run(number: int, rows: int) -> None:
    """Write a run as a training leaves it."""
    run = f"run-{number + 1}"
    directory = Path("logs") / run
    directory.mkdir(parents=True)
    rng = np.random.default_rng(number)
    rate = 1e-3 * (1 + number % GROUPS)
    facts = {
        "run": run,
        "agent": "gym_loop.agents.ppo:PPO",
        "env": "CartPole-v1",
        "seed": number,
        "status": "finished",
        "started": f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00",
        "steps": 100 * rows,
        "seconds": 0.01 * rows,
    }
    (directory / "manifest.json").write_text(json.dumps(facts))
    values = {"agent.parameters.learning_rate": rate, "seed": number}
    config = load_config(preset_config("ppo/CartPole-v1"), values)
    (directory / "run.yaml").write_text(config.to_yaml())
    loggers = [CsvLogger(directory, run), TensorBoardLogger(directory, run)]
    for logger in loggers:
        logger.start({"agent.parameters.learning_rate": rate})
    values = rng.normal(size=(rows, len(AGENT))).tolist()
    returns = (500 * (1 - np.exp(-np.arange(rows) * rate)) + rng.normal(0, 30, rows)).tolist()
    for row, (value, agent) in enumerate(zip(returns, values, strict=True)):
        scalars = {
            "train/episode_return": value,
            "train/episode_length": 100,
            "train/steps_per_second": 10_000.0,
            **{f"agent/{name}": one for name, one in zip(AGENT, agent, strict=True)},
        }
        if row % 100 == 99:
            scalars |= {f"eval/{name}": value for name in EVALUATION}
        for logger in loggers:
            logger.log(100 * (row + 1), scalars, 0.01 * row)
    for logger in loggers:
        logger.close("finished")


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and MiB at most of one process."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def measure_tensorboard(runs: int, last_step: int) -> tuple[float, float]:
    """Seconds until ``tensorboard`` shows all runs to their ends, and MiB of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", "logs", "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--load_fast", "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not is_loaded(f"http://127.0.0.1:{port}/data/plugin/scalars", runs, last_step):
            assert process.poll() is None, "tensorboard ended"
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return seconds, sum(highest_memory(pid) for pid in [str(process.pid), *children])
    finally:
        process.terminate()
        process.wait()


def is_loaded(address: str, runs: int, last_step: int) -> bool:
    """Whether the last step of every run can be seen."""
    names = [f"run-{number + 1}" for number in range(runs)]
    wanted = urllib.parse.urlencode({"tag": "train/episode_return", "runs": names}, doseq=True)
    try:
        with urllib.request.urlopen(f"{address}/scalars_multirun", wanted.encode()) as answer:
            points = json.load(answer)
    except OSError:  # not listening yet, or no such tag yet
        return False
    return all(points.get(name) and points[name][-1][1] == last_step for name in names)


def highest_memory(pid: str) -> float:
    """The highest resident set of a process, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Read the options, write the runs, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="10 runs of 1,000 rows, one turn")
    options = parser.parse_args()
    if options.quick:
        options.runs, options.rows, options.turns = 10, 1_000, 1
    with tempfile.TemporaryDirectory(prefix="report-") as place:
        os.chdir(place)
        for number in range(options.runs):
            write_run(number, options.rows)
        sides = {name: partial(measure, command) for name, command in SIDES.items()}
        sides["tensorboard --load_fast"] = partial(
            measure_tensorboard, options.runs, 100 * options.rows
        )
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(options.turns):
            for name, side in sides.items():
                found[name].append(side())
        size = Path("report.html").stat().st_size / 1e6
        os.chdir("/")
    medians = {
        name: tuple(statistics.median(column) for column in zip(*values, strict=True))
        for name, values in found.items()
    }
    theirs = medians["TensorBoard's EventAccumulator"]
    rows = [
        [name, f"{seconds:.1f}", f"{memory:.0f}", f"{seconds / theirs[0]:.2f}"]
        for name, (seconds, memory) in medians.items()
    ]
    print(table([f"{options.runs} runs", "seconds", "MiB at most", "ratio of times"], rows))
    print(f"{options.rows:,} rows a run, median of {options.turns}; the page has {size:.1f} MB")
    print(surroundings("gym-loop", "numpy", "tensorboard"))


if __name__ == "__main__":
    main()
