"""Networks, optimisers, distributions and losses: what the learning agents are made of."""
