"""``manifest.json``: where a run came from, and what became of it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

from gym_loop.nn.threads import kernels_in_use
from gym_loop.schema.files import read_regular, replace_file

PACKAGES = (
    "gym-loop", "gymnasium", "numpy", "torch", "ale-py", "box2d", "box2d-py", "mujoco", "pygame",
    "pygame-ce", "safetensors", "tensorboard",
)  # fmt: skip
# Modules that are not named like their packages.
_MODULES = {"box2d": "Box2D", "box2d-py": "Box2D", "pygame-ce": "pygame"}
# Packages that decide nothing of what a run computes.
_WRITERS = ("safetensors", "tensorboard")


def now() -> str:
    """The time in UTC, ISO 8601, to the microsecond (so that it sorts)."""
    return datetime.now(timezone.utc).isoformat()


_TEXT, _TABLE = (str, type(None)), (dict, type(None))
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("run", "agent", "loop", "env", "started", "status", "sweep_id"), (str,)),
    **dict.fromkeys(("config", "config_from_logs", "exit_reason", "ended", "traceback"), _TEXT),
    **dict.fromkeys(("resume", "overrides", "versions", "hardware", "git"), _TABLE),
    **dict.fromkeys(("steps", "episodes", "seconds"), (int, float)),
    "order": (int,),
    "seed": (int, type(None)),
    "command": (list,),
    "resumes": (list, int),
}
_LARGEST = 16 << 20  # bytes
_MOST = 1e15  # of steps, seconds, runs


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest; empty if it is missing or no JSON object.

    An entry that cannot be what gym-loop writes there is left out: a damaged or forged manifest
    spoils its own run only. No link is followed, and nothing is waited for.
    """
    try:
        content = json.loads(read_regular(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: value for key, value in content.items() if _is_possible(key, value)}


def _is_possible(key: str, value: Any) -> bool:
    if type(value) not in _KINDS.get(key, (type(value),)):
        return False
    return key not in ("order", "steps", "episodes", "seconds") or 0 <= value <= _MOST


def write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Replace a manifest in one step: a reader sees the old one or the new one."""
    replace_file(path, json.dumps(content, indent=2) + "\n")


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run computes."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def versions_in_use() -> dict[str, str]:
    """Versions of Python and of those packages that this process has imported so far."""
    return {
        name: text
        for name, text in versions().items()
        if name == "python" or _MODULES.get(name, name.replace("-", "_")) in sys.modules
    }


def differing_versions(then: Any) -> list[str]:
    """What a run used and is another version now, or absent: ``numpy 1.26 (here 2.0)``."""
    here = versions()
    return [
        f"{name} {version} (here {here.get(name, 'absent')})"
        for name, version in (sorted(then.items()) if isinstance(then, dict) else ())
        if name not in _WRITERS and version != here.get(name)
    ]


def hardware() -> dict[str, Any]:
    """Processor, cores, memory, system and kernels; the GPU where torch is loaded and sees one."""
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "host": platform.node(),
        "cores": os.cpu_count(),
    }
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        facts["memory_gib"] = round(size / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        pass
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        models = []
    facts["processor"] = models[0] if models else platform.processor()
    facts["matrix_products"] = kernels_in_use()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def git_state(directory: Path) -> dict[str, Any] | None:
    """The commit checked out around a directory, and whether files differ; None outside git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(directory), *arguments]
        return subprocess.check_output(
            command, stderr=subprocess.DEVNULL, text=True, timeout=10
        ).strip()

    try:
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "uncommitted_changes": bool(changed)}
