import torch

from gym_loop.agents import BaseAgent


class PolicyGradient(BaseAgent):
    """REINFORCE with a small PyTorch network."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set.

        Parameters:
            hidden (int): Units of the hidden layer.
            learning_rate (float): Step size of Adam.
        """
        return {"hidden": 32, "learning_rate": 0.01}

    def __init__(self, **params):
        super().__init__(**params)
        observations = self.parameters["observation_space"].shape[0]
        actions = int(self.parameters["action_space"].n)
        hidden = self.parameters["hidden"]
        self.network = torch.nn.Sequential(
            torch.nn.Linear(observations, hidden),
            torch.nn.Tanh(),
            torch.nn.Linear(hidden, actions),
        )
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=self.parameters["learning_rate"]
        )
        self.steps = []  # (observation, action, reward) of the episode under way
        self.done = False

    def act(self, state, episode_num):
        with torch.no_grad():
            scores = self.network(torch.as_tensor(state))
        if not self.training:
            return int(scores.argmax())
        return int(torch.distributions.Categorical(logits=scores).sample())

    def memorize(self, last_ob, action, reward, done, ob):
        self.steps.append((last_ob, action, float(reward)))
        self.done = done

    def update(self, episode_num):
        if not self.done:
            return
        total, returns = 0.0, []
        for _, _, reward in reversed(self.steps):
            total = reward + 0.99 * total
            returns.insert(0, total)
        returns = torch.tensor(returns)
        observations = torch.stack([torch.as_tensor(ob) for ob, _, _ in self.steps])
        actions = torch.tensor([action for _, action, _ in self.steps])
        chosen = torch.distributions.Categorical(logits=self.network(observations))
        loss = -(chosen.log_prob(actions) * (returns - returns.mean())).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.steps = []
