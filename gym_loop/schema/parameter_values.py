"""The parameters of an agent, a loop or a logger, as its methods read them."""

from __future__ import annotations

from typing import Any

from gym_loop.schema.suggestions import did_you_mean


class ParameterValues(dict[str, Any]):
    """A dictionary whose values are attributes as well: ``p["gamma"]`` and ``p.gamma``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        hint = "" if name.startswith("_") else did_you_mean(name, map(str, self))
        raise AttributeError(f"there is no parameter {name}{hint}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value
