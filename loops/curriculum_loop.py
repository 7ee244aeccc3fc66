"""A curriculum: the environment gets harder as the agent gets better."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from gym_loop.errors import EnvParametersError
from gym_loop.loops.default_loop import DefaultLoop
from gym_loop.runs.results import EpisodeResult


class CurriculumLoop(DefaultLoop):
    """Gives one attribute of the environment one value after the other.

    A level ends when the mean return of its last episodes reaches a threshold. The last level
    is the task itself: evaluations play that one, however far the training has come.
    """

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """What a run file may set, beside the parameters of DefaultLoop.

        Parameters:
            attribute (str): The environment's attribute that makes it easier or harder.
            levels (list): Its values, the easiest first; the last one is the task itself.
            threshold (int or float): Mean return that ends a level.
            window (int): Number of last episodes, all at this level, of which the mean is taken.
        """
        own = {"attribute": "g", "levels": [2.0, 5.0, 10.0], "threshold": -400.0, "window": 20}
        return {**DefaultLoop.get_default_parameters(), **own}

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        # Each problem is shown with its line of the run file, before anything is made.
        problems = DefaultLoop.check_parameters(parameters)
        if not parameters["levels"]:
            problems["levels"] = "is empty; list the attribute's values, the easiest first"
        if parameters["window"] < 1:
            problems["window"] = f"{parameters['window']} is too small; it must be at least 1"
        return problems

    def __init__(self, agent: Any, env: Any, run: Any = None, **parameters: Any) -> None:
        super().__init__(agent, env, run, **parameters)
        self.level = 0
        # Of this level's last episodes.
        self.returns: deque[float] = deque(maxlen=self.parameters["window"])
        self.set_level(env, self.level)

    def set_level(self, env: Any, level: int) -> None:
        name = self.parameters["attribute"]
        if not env.has_wrapper_attr(name):
            known = ", ".join(key for key in sorted(vars(env.unwrapped)) if key[0] != "_")
            raise EnvParametersError(
                f"loop.parameters.attribute: {env.unwrapped} has no {name!r}; name one of {known}"
            )
        env.set_wrapper_attr(name, self.parameters["levels"][level])

    def begin_episode(self) -> None:
        # Before each reset, which may need it, and which follows an evaluation now and then.
        self.set_level(self.env, self.level)
        super().begin_episode()

    def end_episode(self) -> None:
        self.run.log(self.steps, {"curriculum/level": self.level})
        self.returns.append(self.episode_return)
        mean = sum(self.returns) / len(self.returns)
        if len(self.returns) == self.returns.maxlen and mean >= self.parameters["threshold"]:
            self.level = min(self.level + 1, len(self.parameters["levels"]) - 1)
            self.returns.clear()
        super().end_episode()  # last: it may write a checkpoint, which holds the level

    def evaluate(self, seeds: Sequence[int] | None = None) -> list[EpisodeResult]:
        # An environment of its own, so that the episode under way is left alone, if there is one.
        env = self.run.evaluation_env()
        self.set_level(self.env if env is None else env, -1)
        return super().evaluate(seeds)

    # Where a resumed run goes on. The agent and the environment are saved beside it.
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "level": self.level, "returns": list(self.returns)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.level = state["level"]
        self.returns.extend(state["returns"])
        self.set_level(self.env, self.level)
