import json

from gym_loop.runs.loggers.base import BaseLogger


class JsonLines(BaseLogger):
    """Writes one JSON object a log call."""

    @staticmethod
    def get_default_parameters():
        """What a run file may set.

        Parameters:
            file (str): Name of the file in the run's directory.
        """
        return {"file": "metrics.jsonl"}

    def __init__(self, directory, run_id, **parameters):
        super().__init__(directory, run_id, **parameters)
        self.path = self.directory / self.parameters["file"]
        self.rows = 0

    def log(self, step, scalars, seconds):
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")
        self.rows += 1

    def state_dict(self):
        return {"rows": self.rows}

    def load_state_dict(self, state):
        self.rows = state["rows"]
        kept = self.path.read_text(encoding="utf-8").splitlines(keepends=True)[: self.rows]
        self.path.write_text("".join(kept), encoding="utf-8")
