"""Merge the continued-pretrained model with the one it started from, so that an instruct model keeps its manners."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.lib.config import Declared, StageConfig
from tasks.lib.model import Model
from tasks.lib.stage import stage

Share = Annotated[float, Field(ge=0, le=1, description="how much of what pretraining changed is kept: 0 is the base, 1 the pretrained")]


class Slerp(Declared):
    """Spherical interpolation of each tensor (Shoemake, 1985): directions between the two, at their own lengths."""

    kind: Literal["slerp"]
    share: Share = 0.5


class TaskArithmetic(Declared):
    """The base plus a share of the difference (Ilharco et al., 2023; of one model with its own start, Wortsman et al., 2022)."""

    kind: Literal["task-arithmetic"]
    share: Share = 0.5


class Ties(Declared):
    """Task arithmetic with the smallest differences of each tensor left out (TIES, Yadav et al., 2023)."""

    kind: Literal["ties"]
    share: Share = 0.5
    density: float = Field(default=0.5, gt=0, le=1, description="share of the differences that are kept, the largest first")


class MergeConfig(StageConfig):
    """Whether and how the two are merged."""

    method: Annotated[Slerp | TaskArithmetic | Ties, Field(discriminator="kind")] | None = None

    @property
    def off(self) -> bool:
        """Without a method the pretrained model goes on as it is."""
        return self.method is None


@stage(version="1", needs=("models", "merging"), through="trained")
def merge(out: Path, cfg: MergeConfig, start: Model, trained: Model) -> Model:
    """Merge the weights of a model with those it started from, with mergekit; both must have the same tokenizer."""
    from tasks.lib import merging, models

    merging.require_same_tokenizer(start.path, trained.path)
    network = merging.merge(start.path, trained.path, _recipe(cfg.method))
    models.save(network, models.load_tokenizer(trained.path), out)
    return Model(parameters=trained.parameters, vocabulary=trained.vocabulary, bytes=models.weight_bytes(out))


def _recipe(method: Any) -> dict[str, Any]:
    """The method and its arguments in mergekit's words."""
    match method:
        case Slerp():
            return {"merge_method": "slerp", "parameters": {"t": method.share}}
        case TaskArithmetic():
            return {"merge_method": "task_arithmetic", "parameters": {"weight": method.share}}
        case Ties():  # normalised, a single difference would always be added whole
            return {"merge_method": "ties", "parameters": {"weight": method.share, "density": method.density, "normalize": False}}
    raise TypeError(f"no way to merge by {type(method).__name__}")
