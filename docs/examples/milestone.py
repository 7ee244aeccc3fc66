from gym_loop.loops.default_loop import DefaultLoop


class Milestone(DefaultLoop):
    """The default loop, which also notes when the mean return reaches a goal."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set, beside the parameters of DefaultLoop.

        Parameters:
            goal (float): Mean return to reach.
            window (int): Number of last episodes that the mean is taken over, at most 100.
        """
        return {**DefaultLoop.get_default_parameters(), "goal": 100.0, "window": 20}

    def __init__(self, agent, env, run=None, **parameters):
        super().__init__(agent, env, run, **parameters)
        self.reached_at = None

    def end_episode(self):
        super().end_episode()
        window = self.parameters["window"]
        returns = list(self.episode_log.last_returns)[-window:]
        mean = sum(returns) / len(returns)
        self.run.log(self.steps, {"loop/mean_return": mean})
        full = len(returns) == window
        if full and self.reached_at is None and mean >= self.parameters["goal"]:
            self.reached_at = self.steps
            self.run.console.message(f"goal reached after {self.steps} steps")

    def state_dict(self):
        return {**super().state_dict(), "reached_at": self.reached_at}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.reached_at = state["reached_at"]
