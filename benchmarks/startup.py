"""How long a user waits: for the help text, and for the first step of a training.

Two pairs, each the command against the least that anyone would have to wait for:

- ``gym-loop --help`` against ``python -c "import typer, rich"`` (wanted: at most 1.3 times);
- ``gym-loop train -c run.yaml`` until its first environment step, against a script that
  imports gymnasium, makes CartPole-v1 and steps it (wanted: at most 1.3 times).

The clock starts just before the process is spawned. The first step is noted by a wrapper,
the same in both. Commands take turns; the medians are compared. Every side finds its modules
compiled, as an installer leaves them.

    python benchmarks/startup.py [--quick] [--repeats N] [--cpu] [--profile]

``--cpu`` takes the processes' CPU time in place of the clock on the wall, for a machine that
has other work to do. ``--profile`` prints instead what takes longest to import.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _measure import surroundings, table, take_turns, verdict

HERE = Path(__file__).resolve().parent
WANTED = 1.3
BARE = """
import sys
sys.path.insert(0, {here!r})
import gymnasium
from _probes import Stamp
env = Stamp(gymnasium.make("CartPole-v1"), {path!r})
env.reset(seed=0)
env.step(env.action_space.sample())
"""
RUN_FILE = """
agent:
    class: gym_loop.agents.random_agent:RandomAgent
    parameters: {{}}
env:
    imports: []
    name: CartPole-v1
    parameters: {{}}
    wrappers:
        - class: {here}/_probes.py:Stamp
          parameters: {{path: {path}}}
loop:
    class: gym_loop.loops.default_loop:DefaultLoop
    parameters: {{max_episodes: 1}}
"""


def compiled(directory: Path) -> dict[str, str]:
    """Environment variables that let Python keep compiled modules, in a place of their own."""
    kept = {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(directory / "compiled")}


def whole(command: list[str], directory: Path, cpu: bool) -> Callable[[], float]:
    """A side: seconds until the command has ended."""
    environment = compiled(directory)

    def measure() -> float:
        start, cpu_start = time.monotonic_ns(), _cpu_of_children()
        subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
        if cpu:
            return _cpu_of_children() - cpu_start
        return (time.monotonic_ns() - start) / 1e9

    return measure


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def to_first_step(command: list[str], directory: Path, cpu: bool) -> Callable[[], float]:
    """A side: seconds until the training environment's first step."""
    environment = compiled(directory)
    stamps = directory / "stamps"

    def measure() -> float:
        stamps.unlink(missing_ok=True)
        start = time.monotonic_ns()
        subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
        # The last line: copies that are tried out before training leave lines too.
        stamp, cpu_stamp = map(int, stamps.read_text().splitlines()[-1].split())
        return cpu_stamp / 1e9 if cpu else (stamp - start) / 1e9

    return measure


def commands(directory: Path) -> dict[str, list[str]]:
    """The command of every side."""
    stamps = str(directory / "stamps")
    (directory / "run.yaml").write_text(RUN_FILE.format(here=HERE, path=stamps))
    gym_loop = str(Path(sys.executable).parent / "gym-loop")
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        'python -c "import typer, rich"': [sys.executable, "-c", "import typer, rich"],
        "gym-loop --help": [gym_loop, "--help"],
        "bare script, first step": [
            sys.executable,
            "-c",
            BARE.format(here=str(HERE), path=stamps),
        ],
        "our training, first step": [gym_loop, "train", "-c", "run.yaml"],
    }


def compare(directory: Path, repeats: int, cpu: bool) -> str:
    """Measure all sides in turn; return the table."""
    results = take_turns(
        {
            name: (to_first_step if "first step" in name else whole)(command, directory, cpu)
            for name, command in commands(directory).items()
        },
        repeats,
        warmups=2,
    )
    against = {
        "gym-loop --help": 'python -c "import typer, rich"',
        "our training, first step": "bare script, first step",
    }
    rows = []
    for name, result in results.items():
        ratio = "-"
        if name in against:
            ratio = verdict(result.median / results[against[name]].median, at_most=WANTED)
        rows.append([name, f"{result.median * 1e3:.0f}", result.spread, ratio])
    return table(["what", "ms, median", "spread", "ratio"], rows)


def profile(directory: Path, length: int = 25) -> str:
    """What takes longest to import, by its own time, in each of the commands that import."""
    text = []
    for name, command in commands(directory).items():
        if name == "python -c pass":
            continue
        rest = command[1:] if command[0] == sys.executable else command
        for _ in range(2):  # the first time compiles
            timed = subprocess.run(
                [sys.executable, "-X", "importtime", *rest],
                cwd=directory,
                env=compiled(directory),
                check=True,
                capture_output=True,
                text=True,
            )
        lines = re.findall(r"^import time:\s+(\d+) \|\s+(\d+) \|\s*(\S+)$", timed.stderr, re.M)
        slowest = sorted(lines, key=lambda line: -int(line[0]))[:length]
        total = sum(int(line[0]) for line in lines)
        text.append(f"{name}: {len(lines)} modules, {total / 1e3:.0f} ms under -X importtime")
        text.append(table(["us, own", "us, with what it imports", "module"], slowest))
    return "\n".join(text)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="5 turns")
    parser.add_argument("--repeats", type=int, default=25, help="turns (25)")
    parser.add_argument("--cpu", action="store_true", help="CPU time, for a busy machine")
    parser.add_argument("--profile", action="store_true", help="import times instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.profile:
            print(profile(Path(name)))
            return
        print(compare(Path(name), 5 if options.quick else options.repeats, options.cpu))
    print(surroundings("gym-loop", "gymnasium", "numpy", "typer", "rich"))


if __name__ == "__main__":
    main()
