"""The state of environments, as data: see `gym_loop.envs.state.keeper`."""
