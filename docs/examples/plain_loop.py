from gym_loop.agents import Transition
from gym_loop.loops import BaseLoop
from gym_loop.runs.results import EpisodeResult


class PlainLoop(BaseLoop):
    """One environment, a number of steps, and nothing else."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set.

        Parameters:
            checkpoint_dir (str): Parent directory of the runs' checkpoints.
            eval_episodes (int): Episodes of one evaluation.
            logdir (str): Parent directory of the runs' logs.
            max_steps (int): Train for so many environment steps.
            steps_per_checkpoint (int): Save every so many steps.
        """
        return {
            "checkpoint_dir": "./checkpoints",
            "eval_episodes": 10,
            "logdir": "./logs",
            "max_steps": 10_000,
            "steps_per_checkpoint": 1_000,
        }

    def __init__(self, agent, env, run=None, **parameters):
        super().__init__(agent, env, run, **parameters)
        self.ob = None  # None: the next step begins an episode
        self.episode_return, self.length = 0.0, 0

    def train(self):
        self.start()
        while self.wants_more():
            while self.steps < self.attention_at:
                self.step()
            self.look_up()  # shows the progress, and saves if it is time
        self.finish()

    def step(self):
        if self.ob is None:
            first = self.run.seeds.integer("environment") if self.steps == 0 else None
            self.ob, _ = self.env.reset(seed=first)
            self.episode_return, self.length = 0.0, 0
        action = self.agent.act(self.ob, self.episode)
        ob, reward, terminated, truncated, info = self.env.step(action)
        self.agent.observe(Transition(self.ob, action, reward, terminated, truncated, ob, info))
        self.agent.update(self.episode)
        self.ob = ob
        self.steps += 1
        self.length += 1
        self.episode_return += float(reward)
        if terminated or truncated:
            self.ob = None
            self.episode += 1
            self.episodes_finished([self.episode_return], self.length)

    def evaluate(self, seeds=None):
        env = self.run.evaluation_env()
        if env is None:  # a loop made by hand has one environment for all
            env, self.ob = self.env, None
        with self.agent.evaluating():
            return [self.play(env, seed) for seed in self.evaluation_seeds(seeds)]

    def play(self, env, seed):
        ob, _ = env.reset(seed=seed)
        total, length, done = 0.0, 0, False
        while not done:
            ob, reward, terminated, truncated, _ = env.step(self.agent.act(ob, self.episode))
            total, length, done = total + float(reward), length + 1, terminated or truncated
        return EpisodeResult(seed, total, length)

    def state_dict(self):
        own = {"ob": self.ob, "episode_return": self.episode_return, "length": self.length}
        return {**super().state_dict(), **own}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.ob, self.length = state["ob"], state["length"]
        self.episode_return = state["episode_return"]
