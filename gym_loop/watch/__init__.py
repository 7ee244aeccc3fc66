"""A run's agent seen playing in a browser, by the newest checkpoint that its training wrote."""
