"""Preference tuning with TRL: direct preference optimisation with its losses, or Kahneman-Tversky optimisation."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tasks.lib import balance
from tasks.lib.config import Declared, StageConfig
from tasks.lib.mixing import EVEN, Draws, Weights, pairs_by_source
from tasks.lib.model import Aligned, Model
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import OWN_FIELDS, UNSMOOTHED, TrainingConfig
from tasks.split import Split

Loss = Literal[
    "sigmoid", "ipo", "hinge", "robust", "apo_zero", "apo_down", "sigmoid_norm", "exo_pair", "nca_pair", "sppo_hard", "bco_pair",
    "aot", "aot_unpaired", "discopop",
]  # fmt: skip
SMOOTHED = {"robust": 0.1, "exo_pair": 1e-3}  # what their papers recommend; without it they are another loss, or none
SORTED = ("aot", "aot_unpaired")  # sorted within what is taken at once, and so other pairs on several devices
MAY_SMOOTH = ("robust", "exo_pair", "aot", "aot_unpaired")


class Dpo(Declared):
    """Direct preference optimisation (Rafailov et al., 2023): the chosen answer shall gain on the rejected one."""

    kind: Literal["dpo"] = "dpo"
    beta: float = Field(default=0.1, gt=0, description="how strongly the model is held to where it started")
    loss: Loss = Field(default="sigmoid", description="TRL's name of the loss; sigmoid is that of the paper")
    smoothing: float = Field(default=0.0, ge=0, lt=0.5, description="of robust, exo_pair and aot: the share of pairs taken to be swapped")

    @model_validator(mode="after")
    def _smoothed(self) -> "Dpo":
        if self.loss in SMOOTHED and not self.smoothing:
            raise ValueError(f"the loss {self.loss} needs `smoothing` above 0, for instance {SMOOTHED[self.loss]:g}")
        if self.smoothing and self.loss not in MAY_SMOOTH:
            raise ValueError(f"the loss {self.loss} has no smoothing; remove it, or take one of {', '.join(MAY_SMOOTH)}")
        return self


class Kto(Declared):
    """Kahneman-Tversky optimisation (Ethayarajh et al., 2024): each answer of a pair is wanted or unwanted by itself."""

    kind: Literal["kto"]
    beta: float = Field(default=0.1, gt=0, description="how strongly the model is held to where it started")
    desirable_weight: float = Field(default=1.0, ge=0, description="of the wanted answers in the loss")
    undesirable_weight: float = Field(default=1.0, ge=0, description="of the unwanted answers in the loss")


Method = Annotated[Dpo | Kto, Field(discriminator="kind")]


class AlignConfig(TrainingConfig, StageConfig):
    """Preference tuning."""

    own_fields: ClassVar[dict[str, str]] = {**OWN_FIELDS, "beta": "beta", "loss_type": "loss"}
    fixed: ClassVar[dict[str, str]] = UNSMOOTHED

    learning_rate: float = Field(default=5e-5, ge=0)
    method: Method = Dpo()

    @model_validator(mode="after")
    def _can_be_dealt(self) -> "AlignConfig":
        """What several devices would make another result of is refused."""
        if isinstance(self.method, Dpo) and self.method.loss in SORTED and self.devices != 1:
            raise ValueError(
                f"the loss {self.method.loss} sorts what one device takes at once; set `devices: 1`, or take a loss of single pairs, as sigmoid"
            )
        if isinstance(self.method, Kto) and self.devices != "auto":
            self.require_shared_batch(self.devices)
        return self

    @field_validator("method", mode="before")
    @classmethod
    def _dpo_unless_said(cls, given: Any) -> Any:
        return {"kind": "dpo", **given} if isinstance(given, dict) else given


@stage(version="7", needs=("models", "preferences"))
def align(out: Path, cfg: AlignConfig, model: Model, data: Split, weights: Weights = EVEN) -> Aligned:
    """Tune towards the chosen and away from the rejected answers; pairs that do not fit are counted and left out.

    What held-out pairs (`preference-valid`) say before and after is among the facts.
    """
    from tasks.lib import models, preferences
    from tasks.lib.packing import Encoder

    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    encoder, draws = Encoder(tokenizer, cfg.length), Draws(weights)
    pairs, sources = preferences.pairs(encoder, draws.of(iterate(data.path, "preference-train")))
    held, _ = preferences.pairs(Encoder(tokenizer, cfg.length), iterate(data.path, "preference-valid"))
    network.to(models.device(cfg.device))
    before = preferences.likelihoods(network, tokenizer, held)
    fit = preferences.fit_kto if isinstance(cfg.method, Kto) else preferences.fit_dpo
    learned = fit(network, tokenizer, pairs, cfg, cfg.method)
    after = preferences.likelihoods(network, tokenizer, held)
    tokenizer.padding_side = "right"
    models.save(network, tokenizer, out)
    counted = balance.of_examples("align", "pairs", draws.total, encoder.tally.facts(), learned.facts)
    return Aligned(
        parameters=model.parameters,
        vocabulary=model.vocabulary,
        bytes=models.weight_bytes(out),
        data={"pairs": len(pairs), **counted, **learned.facts},
        drawn=draws.facts(*pairs_by_source(sources, learned.times), encoder.lost),
        held_out=preferences.preferred(before, after, cfg.method.beta),
    )
