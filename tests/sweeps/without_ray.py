"""Sweeps without Ray: its part is played by a loop that runs the trials in turn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gym_loop.sweeps.members import MakeOrder
from gym_loop.sweeps.search import Search
from gym_loop.sweeps.sweep_file import Sweep
from gym_loop.sweeps.trial import Nursery, Trial


@contextmanager
def no_ray(address: str | None, files: list[Path]) -> Iterator[None]:
    yield


class InTurn:
    """Runs trials in turn, all from one nursery.

    Args:
        nursery: of the runs.
    """

    def __init__(self, nursery: Nursery) -> None:
        self.nursery = nursery

    def tune(
        self, sweep: Sweep, search: Search, make_order: MakeOrder, storage: Path, name: str
    ) -> None:
        """What `gym_loop.sweeps.tuning.tune` does."""
        count = 0
        while (found := search.next(f"t{count}")) is not None:
            record, cell = found
            replies = search.replies(record)
            trial = Trial(make_order(record, cell), self.nursery)
            result = replies.pop(0) if replies else trial.report()
            while not result["done"]:
                search.reported(f"t{count}", result)
                result = replies.pop(0) if replies else trial.report()
            search.ended(f"t{count}", result, lost=False)
            count += 1
