"""A run that begins where another one stands: a copy of its logs and of one checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path

from gym_loop.runs.directory import MANIFEST, RUN_FILE, RunDirectory


def fork_run(parent: str, child: str, checkpoint: Path, parents: dict[str, Path]) -> None:
    """Make a run that can be resumed from a checkpoint of another run.

    Its logs are the other's up to there: what comes later is dropped when it is resumed.

    Args:
        parent: id of the run that may be training now.
        child: id of the new run.
        checkpoint: one of the parent's, or a copy of it.
        parents: directory parameters of the loop.
    """
    source = RunDirectory(parent, parents)
    run = RunDirectory.create(child, parents, name=child)
    try:
        store = run.path("checkpoint_dir")
        shutil.copytree(checkpoint, store / checkpoint.name)
        for name in ("logdir", "eval_logdir"):
            if name not in parents or not source.path(name).is_dir():
                continue
            run.path(name).mkdir(exist_ok=True)
            for path in sorted(source.path(name).iterdir()):
                if path.is_file() and path.name not in ("lock", MANIFEST, RUN_FILE):
                    shutil.copyfile(path, run.path(name) / path.name)
        facts = source.manifest()
        run.note(**{**facts, "run": child, "status": "stopped", "forked_from": parent})
        # Last, for where it is there is a run to go on with.
        shutil.copyfile(source.logs / RUN_FILE, run.logs / RUN_FILE)
    finally:
        run.unlock()
