"""The two streams put together again, on the agent's side: from messages to ticks.

The messages carry no number of their tick and no end of the episode. Ticks are told apart by
what they hold, and an episode is over when the inter-trial observation appears. No input or
output happens here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence

from gym_loop.errors import BridgeProtocolError
from gym_loop.wire.gymz import Reading, Values

KEPT = 1000  # rewards that wait for their observation
_CLOSE = 1e-6  # of a number that went through float32


class Streams:
    """Gathers what happens between two answers to the agent.

    A new tick is one whose observation, or whose reward, differs from the tick before. The
    reward of an observation is the one with the same time stamp; a server that stamps each
    stream by itself is read too, by the nearest stamp.

    Args:
        inter_trial: the observation between two episodes; one number stands for all dimensions.

    Attributes:
        latest: the newest observation of an episode.
        over: the inter-trial observation has come; nothing behind it is looked at.
    """

    def __init__(self, inter_trial: Sequence[float] | float) -> None:
        self._inter_trial = inter_trial
        self._waiting: deque[Reading] = deque()  # observations that wait for their rewards
        self._stamps: deque[float] = deque(maxlen=KEPT)
        self._rewards: deque[float] = deque(maxlen=KEPT)
        self.latest: Values | None = None
        self.over = False
        self._reward: float | None = None  # of the latest tick; None: not known
        self._sum = 0.0
        self._ticks = 0
        self._seen = 0

    def is_between(self, reading: Reading) -> bool:
        """Whether this is the inter-trial observation."""
        wanted = self._inter_trial
        if not isinstance(wanted, (int, float)):
            if len(wanted) != len(reading.values):
                raise BridgeProtocolError(
                    f"the observations have {len(reading.values)} dimensions, but"
                    f" inter_trial_observation has {len(wanted)}"
                )
            return all(map(_same, reading.values, wanted))
        return all(_same(value, wanted) for value in reading.values)

    def begin(self, reading: Reading) -> None:
        """Begin at an observation, whose own reward does not count."""
        self._waiting.clear()
        self._sum, self._ticks, self._seen = 0.0, 0, 0
        self.latest, self._reward, self.over = reading.values, None, False

    def forget(self) -> None:
        """Drop what waits to be put together: the connection was lost."""
        self._waiting.clear()
        self._stamps.clear()
        self._rewards.clear()

    def observation(self, reading: Reading) -> None:
        """Take a message of the observations."""
        if not self.over:
            self._waiting.append(reading)
            self._settle()

    def reward(self, reading: Reading) -> None:
        """Take a message of the rewards; null is 0."""
        self._stamps.append(reading.ts)
        self._rewards.append(reading.values[0] or 0.0)
        self._settle()

    @property
    def ready(self) -> bool:
        """Something has come since the last answer."""
        return self._seen > 0 or self.over

    def take(self) -> float:
        """The reward since the last answer.

        It is the sum over the new ticks. Where every message was equal to what was answered
        already, the world may have stood still or repeated itself: the reward of one such tick
        is counted, and none at the end of an episode.
        """
        total = self._sum
        if not self._ticks and not self.over:
            total = self._reward or 0.0
        self._sum, self._ticks, self._seen = 0.0, 0, 0
        return total

    def _settle(self) -> None:
        """Look at every observation whose reward must have come, or that needs none."""
        while self._waiting and not self.over:
            reading = self._waiting[0]
            if self.is_between(reading):
                self.over = True
                self._waiting.clear()
            elif self._stamps and self._stamps[-1] >= reading.ts:
                self._waiting.popleft()
                self._tick(reading)
            else:
                return

    def _tick(self, reading: Reading) -> None:
        self._seen += 1
        reward, exact = self._reward_at(reading.ts)
        if self.latest == reading.values:
            if self._reward is None:
                self._reward = reward
            elif reward != self._reward and exact:
                self._count(reading.values, reward)
            elif reward != self._reward:
                # The neighbouring tick's reward was taken for it, where stamps only come near.
                self._sum += reward - self._reward
                self._reward = reward
        else:
            self._count(reading.values, reward)

    def _count(self, values: Values, reward: float) -> None:
        self.latest, self._reward = values, reward
        self._sum += reward
        self._ticks += 1

    def _reward_at(self, ts: float) -> tuple[float, bool]:
        """The reward with this stamp, or the nearest one; and whether it is exact."""
        while len(self._stamps) > 1 and self._stamps[1] <= ts:
            self._stamps.popleft()
            self._rewards.popleft()
        index = bisect_left(self._stamps, ts)
        if index < len(self._stamps) and self._stamps[index] == ts:
            return self._rewards[index], True
        near = [one for one in (index - 1, index) if 0 <= one < len(self._stamps)]
        best = min(near, key=lambda one: abs(self._stamps[one] - ts))
        return self._rewards[best], False


def _same(value: float | None, wanted: float) -> bool:
    if value is None or value != value:
        return wanted != wanted
    return value == wanted or abs(value - wanted) <= _CLOSE * abs(wanted)
