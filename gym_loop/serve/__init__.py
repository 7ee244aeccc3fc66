"""Environments served to others over HTTP, WebSocket, ZeroMQ and NATS.

``gym_loop.serve(...)`` is a function of the public API, and this package has its name: calling the
package calls the function.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> None:
        from gym_loop.serve.serving import serve

        serve(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
