"""What a run file may say: its sections and keys, each with its type, default and meaning."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from annotated_types import Interval

from gym_loop.checkpoints.seeding import MAX_SEED
from gym_loop.schema.parameters import Field, PositiveInt, Section
from gym_loop.schema.validation import Wording

DEFAULT_AGENT = "gym_loop.agents.random_agent:RandomAgent"
DEFAULT_LOOP = "gym_loop.loops.default_loop:DefaultLoop"
DEFAULT_ENV = "Pendulum-v1"

ClassString = Annotated[str, Wording("is not a class string (package.module:Class)")]
RunSeed = Annotated[
    int, Interval(ge=0, le=MAX_SEED), Wording(f"is not a seed; use an integer from 0 to {MAX_SEED}")
]
_FORM = "package.module:Class or path/to/file.py:Class."
_PARAMETERS = "Its parameters; those that are left out have their defaults."


class WrapperSection(Section):
    """A wrapper and its parameters."""

    class_: ClassString = Field("", alias="class", description=_FORM)
    parameters: dict[Any, Any] = Field({}, description=_PARAMETERS)


class AgentSection(Section):
    """Who learns."""

    former_names: ClassVar[dict[str, str]] = {
        "policy": (
            "is no key any more: name the network by a parameter of the agent (PPO and DQN take"
            " agent.parameters.network), or make it in the agent's __init__"
        )
    }

    class_: ClassString = Field(DEFAULT_AGENT, alias="class", description=_FORM)
    parameters: dict[Any, Any] = Field({}, description=_PARAMETERS)


class EnvSection(Section):
    """Where it acts."""

    imports: Annotated[list[str], Wording("must be a list of modules or .py files")] = Field(
        [], description="Modules or .py files that register environments."
    )
    max_episode_steps: Annotated[
        PositiveInt | None, Wording("must be a number of steps, or null")
    ] = Field(None, description="Time limit in steps; null keeps the registered one.")
    name: Annotated[str, Wording(f"is not an environment id, such as {DEFAULT_ENV}")] = Field(
        DEFAULT_ENV,
        min_length=1,
        description="Its id in Gymnasium's registry; for VectorLoop also a class string.",
    )
    parameters: dict[Any, Any] = Field({}, description="Keyword arguments of the environment.")
    wrappers: Annotated[
        list[
            Annotated[
                str | WrapperSection,
                Wording("must be a class string, or a mapping of class and parameters"),
            ]
        ],
        Wording("must be a list, each with class and parameters"),
    ] = Field(
        [],
        description="Wrappers, innermost first: each a class string, or a mapping of class and "
        "parameters.",
    )


class LoopSection(Section):
    """How the two are brought together."""

    class_: ClassString = Field(DEFAULT_LOOP, alias="class", description=_FORM)
    parameters: dict[Any, Any] = Field({}, description=_PARAMETERS)


class RunFile(Section):
    """A run file."""

    agent: AgentSection = Field(AgentSection(), description=f"Who learns: {_FORM}")
    env: EnvSection = Field(
        EnvSection(), description="Where: any environment in Gymnasium's registry."
    )
    loop: LoopSection = Field(LoopSection(), description="How: the class that drives the two.")
    seed: Annotated[
        Annotated[int, Interval(ge=0, le=MAX_SEED)] | None,
        Wording(f"is not a seed; use an integer from 0 to {MAX_SEED}, or null"),
    ] = Field(
        None,
        description="Decides every random number of the run; null draws one and writes it down.",
    )
