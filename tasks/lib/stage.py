"""`@stage`: a stage is declared once, by its signature; everything else is derived from it."""

import contextvars
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast

from tasks.lib import digests, store
from tasks.lib.config import Declared, StageConfig
from tasks.lib.errors import StageError
from tasks.lib.store import Artifact

P = ParamSpec("P")
A = TypeVar("A", bound=Artifact)
A_co = TypeVar("A_co", bound=Artifact, covariant=True)

STAGES: dict[str, "Stage[..., Artifact]"] = {}


class Pending:
    """Stands for an artifact that is not made yet, while planning."""

    def __init__(self, stage: str, cause: str) -> None:
        self.stage, self.cause = stage, cause


class Call:
    """One call of a stage: bound arguments, identity and label."""

    def __init__(self, stage: "Stage[..., Any]", arguments: dict[str, Any]) -> None:
        self.stage, self.arguments = stage, arguments
        labelled = arguments.get(stage.label) if stage.label else None
        self.name = stage.name if labelled is None else f"{stage.name}:{labelled.stage}"

    @property
    def pending(self) -> dict[str, Pending]:
        """Inputs that are not made yet."""
        flat = [(key, item) for key, value in self.arguments.items() for item in items(value)]
        return {key: item for key, item in flat if isinstance(item, Pending)}

    def identity(self) -> dict[str, Any]:
        """What the result depends on: stage, version, configuration and contents of the inputs."""
        config, inputs = {}, {}
        for key, value in self.arguments.items():
            if isinstance(value, StageConfig):
                config = value.identity()
            else:
                inputs[key] = _identify(key, value)
        return {
            "stage": self.stage.name,
            "version": self.stage.version,
            "output": self.stage.output.__name__,
            "config": config,
            "inputs": inputs,
        }

    def identifier(self) -> str:
        """`<stage>/<16 hex>`: where the artifact lies."""
        return f"{self.stage.name}/{digests.of_value(self.identity())[:16]}"

    def artifacts(self) -> list[Artifact]:
        """The input artifacts."""
        return [item for value in self.arguments.values() for item in items(value) if isinstance(item, Artifact)]

    @property
    def settings(self) -> StageConfig:
        """The configuration among the arguments."""
        return next(value for value in self.arguments.values() if isinstance(value, StageConfig))

    def config(self) -> dict[str, Any]:
        """The resolved configuration with its runtime fields, as JSON values."""
        return self.settings.model_dump(mode="json")


class Runner(Protocol):
    """What a stage call turns into: a plan row, a plain execution, or a Prefect task."""

    def call(self, call: Call) -> Any:
        """Handle one call and return an artifact (or `Pending`)."""


RUNNER: contextvars.ContextVar[Runner | None] = contextvars.ContextVar("runner", default=None)


@dataclass(frozen=True)
class Options:
    """How a stage is run; none of it is part of an identity."""

    label: str | None
    needs: tuple[str, ...]
    through: str | None


class Stage(Generic[P, A_co]):
    """A declared stage; calling it hands the call to the current runner."""

    def __init__(self, fn: Callable[..., A_co], version: str, options: Options) -> None:
        hints = typing.get_type_hints(fn)
        self.fn, self.version = fn, version
        self.label, self.needs = options.label, options.needs
        self.through = options.through
        self.name = fn.__name__
        self.doc = inspect.getdoc(fn) or ""
        self.output: type[Artifact] = hints["return"]
        signature = inspect.signature(fn)
        parameters = list(signature.parameters.values())
        self.signature = signature.replace(parameters=parameters[1:])
        configs = [t for t in hints.values() if isinstance(t, type) and issubclass(t, StageConfig)]
        if parameters[0].name != "out" or len(configs) != 1:
            raise TypeError(f"stage {self.name}: the signature is (out: Path, cfg: <Stage>Config, *inputs) -> Artifact")
        self.config_type: type[StageConfig] = configs[0]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> A_co:
        """Hand the call to the current runner; without one, run it here."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if self.through is not None and any(isinstance(value, StageConfig) and value.off for value in bound.arguments.values()):
            return cast(A_co, bound.arguments[self.through])
        runner = RUNNER.get()
        if runner is None:
            from tasks.lib.execute import Direct  # the executor needs this module

            runner = Direct()
        return cast(A_co, runner.call(Call(self, dict(bound.arguments))))

    def load(self, record: store.Record) -> A_co:
        """The artifact that a record describes."""
        made = self.output.model_validate({**record.facts, "id": record.id, "digest": record.digest})
        return cast(A_co, made)


def stage(
    *,
    version: str,
    label: str | None = None,
    needs: tuple[str, ...] = (),
    through: str | None = None,
) -> Callable[[Callable[Concatenate[Path, P], A]], Stage[P, A]]:
    """Declare `fn(out, cfg, *inputs) -> Artifact` as a stage.

    Args:
        version: bumped by hand whenever the result for the same inputs changes.
        label: the input whose maker names the call where a stage runs more than once in a flow.
        needs: modules of tasks.lib that the stage imports when it runs; loaded before its clock starts.
        through: the input that is passed on as it is, and no stage run, when the configuration says that the stage is off.
    """

    def declare(fn: Callable[Concatenate[Path, P], A]) -> Stage[P, A]:
        made: Stage[P, A] = Stage(fn, version, Options(label, needs, through))
        STAGES[made.name] = cast("Stage[..., Artifact]", made)
        return made

    return declare


def distinct(*made: A) -> tuple[A, ...]:
    """Artifacts without those that a stage which is off has passed on."""
    return tuple({id(artifact): artifact for artifact in made}.values())


def items(value: Any) -> list[Any]:
    """A value as a list: the parts of a tuple or list, else itself."""
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _identify(key: str, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_identify(key, item) for item in value]
    if isinstance(value, Artifact):
        return value.digest
    if isinstance(value, Declared):
        return value.identity()
    if value is None:
        return None
    raise StageError(
        f"input {key!r} of a stage",
        f"a {type(value).__name__}, which has no identity",
        "pass artifacts, declared values and configurations only",
    )
