"""The parameters that all loops of gym-loop have: defaults, documentation, checks."""

from __future__ import annotations

from typing import Any

from gym_loop.schema.parameters import not_positive, too_small


class LoopParameters:
    """Gives a loop its parameters: budgets, directories, and how often things are due."""

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """The parameters of a run file.

        Parameters:
            checkpoint_dir (str or null): Parent directory of the runs' checkpoints; null for no
                checkpoints at all: the run can then be neither resumed nor evaluated.
            episodes_per_checkpoint (int or null): Save a checkpoint every so many episodes;
                null for none. One is always saved at the end. Those that would take more than 2 %
                of the training's time are put off.
            episodes_per_eval (int or null): Evaluate every so many episodes on an environment of
                its own and keep the best checkpoint; null for never.
            eval_episodes (int): Episodes of one evaluation.
            eval_logdir (str): Parent directory of the evaluations' results.
            eval_record (bool or int): Record videos of evaluation: true for episodes 0, 1, 8, 27,
                ... 1000, 2000, ..., a number N for every N-th episode.
            eval_record_dir (str): Parent directory of the videos of evaluation.
            eval_render (bool): Show evaluation in a window.
            keep_checkpoints (int): Keep this many checkpoints, the newest ones; the best is kept
                besides.
            logdir (str): Parent directory of logs: TensorBoard events, metrics.csv, manifest.
            loggers (list): Further loggers, each a class string or a mapping of class and
                parameters.
            max_episode_len (int or null): Cut (truncate) an episode after so many steps; null for
                the environment's own limit.
            max_episodes (int or null): Train for so many episodes; null for no limit.
            max_steps (int or null): Train for so many environment steps; null for no limit.
                Training ends with whichever limit comes first.
            profile (bool): Measure where the time goes (environment, act, observe, update, logging,
                evaluation, checkpoints) and log it as time/... metrics.
            random_episodes (int): Begin with so many episodes of random actions, which the agent
                observes without an update; they count in max_episodes.
            record (bool or int): Record videos of training: true for episodes 0, 1, 8, 27, ...
                1000, 2000, ..., a number N for every N-th episode.
            record_dir (str): Parent directory of the videos of training.
            render (bool): Show training in a window.
            steps_per_checkpoint (int or null): Save a checkpoint every so many steps as well, in
                the middle of episodes too; null for episodes alone.
            time_per_checkpoint (float or null): Save a checkpoint every so many seconds as well;
                null for episodes alone.
        """
        return {
            "checkpoint_dir": "./checkpoints",
            "episodes_per_checkpoint": 10,
            "episodes_per_eval": None,
            "eval_episodes": 10,
            "eval_logdir": "./eval_logs",
            "eval_record": False,
            "eval_record_dir": "./eval_records",
            "eval_render": False,
            "keep_checkpoints": 3,
            "logdir": "./logs",
            "loggers": [],
            "max_episode_len": 5000,
            "max_episodes": 5,
            "max_steps": None,
            "profile": False,
            "random_episodes": 0,
            "record": False,
            "record_dir": "./episode_records",
            "render": False,
            "steps_per_checkpoint": None,
            "time_per_checkpoint": None,
        }

    @staticmethod
    def check_parameters(parameters: dict[str, Any]) -> dict[str, str]:
        """Ranges: counts are positive, and directories have names, or none for checkpoints."""
        problems = {
            **too_small(parameters, max_episode_len=1, max_episodes=1, max_steps=1),
            **too_small(parameters, episodes_per_eval=1, eval_episodes=1, eval_record=0),
            **too_small(parameters, episodes_per_checkpoint=1, steps_per_checkpoint=1),
            **too_small(parameters, keep_checkpoints=1, random_episodes=0, record=0),
            **not_positive(parameters, "time_per_checkpoint"),
        }
        for name in parameters:
            if name == "checkpoint_dir" and parameters[name] is None:
                continue
            if name.endswith("dir") and not parameters[name]:
                problems[name] = "is empty; name a directory"
        return problems
