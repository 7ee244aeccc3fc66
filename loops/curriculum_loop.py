"""A curriculum: the environment gets harder as the agent gets better."""

from collections import deque

from gym_loop.errors import EnvParametersError
from gym_loop.loops.default_loop import DefaultLoop


class CurriculumLoop(DefaultLoop):
    """Sets one attribute of the environment to one value after the other.

    The next value comes when the mean return of the last episodes reaches a threshold. The
    last value is the task itself: evaluations play that one.
    """

    @staticmethod
    def get_default_parameters():
        """What a run file may set, beside the parameters of DefaultLoop.

        Parameters:
            attribute (str): The environment's attribute that makes it easier or harder.
            levels (list): Its values, the easiest first; the last one is the task itself.
            threshold (float): Mean return of the last episodes that ends a level.
            window (int): Episodes of the level that the mean is taken over.
        """
        own = {"attribute": "", "levels": [], "threshold": 0.0, "window": 20}
        return {**DefaultLoop.get_default_parameters(), **own}

    @staticmethod
    def check_parameters(parameters):
        # gym-loop check, and every start, show these beside the line of the run file.
        problems = DefaultLoop.check_parameters(parameters)
        if not parameters["attribute"]:
            problems["attribute"] = "is empty; name an attribute of the environment, such as gravity"
        if not parameters["levels"]:
            problems["levels"] = "is empty; list the attribute's values, the easiest first"
        if parameters["window"] < 1:
            problems["window"] = f"{parameters['window']} is too small; it must be at least 1"
        return problems

    def __init__(self, agent, env, run=None, **parameters):
        super().__init__(agent, env, run, **parameters)
        self.level = 0
        self.returns = deque(maxlen=self.parameters["window"])  # of the last episodes at this level
        self.set_level(env, self.level)

    def set_level(self, env, level):
        name, value = self.parameters["attribute"], self.parameters["levels"][level]
        if not env.has_wrapper_attr(name):
            known = ", ".join(key for key in sorted(vars(env.unwrapped)) if not key.startswith("_"))
            raise EnvParametersError(
                f"loop.parameters.attribute: {env.unwrapped} has no attribute {name!r}; it has {known}"
            )
        env.set_wrapper_attr(name, value)

    def begin_episode(self):
        self.set_level(self.env, self.level)  # before the reset, which may look at it
        super().begin_episode()

    def end_episode(self):
        # The original counts, logs and saves, so what a checkpoint has to hold is decided before.
        self.run.log(self.steps, {"curriculum/level": self.level})
        self.returns.append(self.episode_return)
        is_full = len(self.returns) == self.returns.maxlen
        mean = sum(self.returns) / len(self.returns)
        if is_full and mean >= self.parameters["threshold"] and self.level + 1 < len(self.parameters["levels"]):
            self.level += 1
            self.returns.clear()
        super().end_episode()

    def evaluate(self, seeds=None):
        env = self.run.evaluation_env()
        self.set_level(self.env if env is None else env, -1)
        return super().evaluate(seeds)

    # What a resumed run needs to know. The environment's own state is saved beside it.
    def state_dict(self):
        return {**super().state_dict(), "level": self.level, "returns": list(self.returns)}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.level = state["level"]
        self.returns.clear()
        self.returns.extend(state["returns"])
        self.set_level(self.env, self.level)
