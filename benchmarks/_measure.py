"""What the benchmarks share: sides that take turns, medians, and plain tables.

Sides are measured in turn, so that a machine that slows down slows all of them, and only
medians are compared. A side is a function that returns seconds; where imports would
disturb each other it is a `Worker`, a child process that imports once and then measures
each time it is asked to.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gym_loop.nn.threads import kernels_in_use


class CannotMeasureError(Exception):
    """This side gives no figures: its package is absent, or it failed."""


@dataclass
class Result:
    """What one side took.

    Args:
        values: one figure a turn, seconds as a rule.
        problem: why there are none.
    """

    values: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def median(self) -> float:
        """The median over all turns."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """Half the distance between the quartiles, in per cent of the median."""
        if len(self.values) < 2:
            return "-"
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return f"{(high - low) / 2 / self.median:.1%}"


def take_turns(
    sides: Mapping[str, Callable[[], float]], repeats: int, warmups: int = 1
) -> dict[str, Result]:
    """Measure every side `warmups + repeats` times, one after the other, and keep `repeats`."""
    results = {name: Result() for name in sides}
    for turn in range(warmups + repeats):
        for name, measure in sides.items():
            if results[name].problem:
                continue
            try:
                value = measure()
            except CannotMeasureError as error:
                results[name] = Result(problem=str(error))
                continue
            if turn >= warmups:
                results[name].values.append(value)
    return results


class Worker:
    """A side in a child process of its own; call it to get one measurement.

    Args:
        command: what to run; it must end in `answer_requests`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self) -> float:
        """Ask the child for one measurement, and wait for it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write("measure\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"problem": "failed: the process ended"}
        if "problem" in answer:
            raise CannotMeasureError(answer["problem"])
        return float(answer["value"])

    def close(self) -> None:
        """End the child, which has nothing to lose."""
        self._process.kill()
        self._process.communicate()


def answer_requests(make: Callable[[], Callable[[], float]]) -> None:
    """Be a `Worker`'s child: measure once for each line of standard input.

    Args:
        make: imports and builds what is measured, and returns the function that measures.
    """
    # Libraries print; only answers may reach the real standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measure = None
    answer: dict[str, float | str]
    for _ in sys.stdin:
        try:
            measure = measure or make()
            answer = {"value": measure()}
        except ModuleNotFoundError as error:
            answer = {"problem": f"absent: {error}"}
        except Exception as error:  # noqa: BLE001 - whatever a peer raises belongs in the table
            answer = {"problem": f"failed: {type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), file=answers, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A reStructuredText table, as `docs/benchmarks.rst` shows it."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = "  ".join("=" * width for width in widths)
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([rule, text[0], rule, *text[1:], rule])


def verdict(ratio: float, *, at_least: float = 0.0, at_most: float = float("inf")) -> str:
    """The ratio, and whether it is what is wanted."""
    kept = at_least <= ratio <= at_most
    wanted = f">= {at_least:g}" if at_least else f"<= {at_most:g}"
    return f"{ratio:.2f} (wanted {wanted}: {'yes' if kept else 'NO'})"


def surroundings(*packages: str) -> str:
    """The lines below a table: machine, Python, and the version of each package."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores of {cpu}, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}; "
        + "; ".join(map(version, packages))
        + (f"; {kernels_in_use()}" if "numpy" in sys.modules else "")
    )


def version(package: str) -> str:
    """Name and installed version of one package."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} absent"
