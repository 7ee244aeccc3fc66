"""Random input for every codec and every live server, derived from what is almost right.

Whatever comes in, a codec may raise its own errors only, and a server answers as its protocol
says, lives, and harms no one else's session.

    python -m tests.serve.fuzzing [--minutes 10] [NAME...]
"""

import argparse
import time
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from tests.serve.fuzz_codecs import CODECS
from tests.serve.fuzz_inputs import Strategy, Target
from tests.serve.fuzz_servers import SERVERS, under_fire


def fuzz(check: Target, inputs: Strategy, examples: int, start: int | None = None) -> None:
    """Check so many inputs; a failing one is shown in its smallest form."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=start is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(value: Any) -> None:
        check(value)

    (run if start is None else seed(start)(run))()


def main() -> None:
    """Fuzz by turns until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each name")
    parser.add_argument("names", nargs="*", default=[*CODECS, *SERVERS])
    arguments = parser.parse_args()
    for name in arguments.names:
        end = time.monotonic() + arguments.minutes * 60
        start = time.time_ns() % 2**32

        def rounds(check: Target, inputs: Strategy, end: float = end, start: int = start) -> int:
            count = 0
            while time.monotonic() < end:
                fuzz(check, inputs, 200, start + count)
                count += 1
            return count * 200

        if name in CODECS:
            count = rounds(*CODECS[name])
        else:
            with under_fire(name) as check:
                count = rounds(check, SERVERS[name])
        print(f"{name}: {count:,} inputs from seed {start}, nothing found", flush=True)


if __name__ == "__main__":
    main()
