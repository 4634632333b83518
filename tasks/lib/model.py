"""The model artifact, without the libraries that load it."""

from tasks.lib.architecture import Architecture
from tasks.lib.config import Declared
from tasks.lib.mixing import Drawn
from tasks.lib.score import Change, Proportion
from tasks.lib.store import Artifact


class Model(Artifact):
    """A model folder in safetensors, with tokenizer; facts that are the same every time."""

    parameters: int
    vocabulary: int
    bytes: int
    architecture: Architecture = "decoder"
    data: dict[str, int] = {}
    drawn: dict[str, Drawn] = {}


class Student(Model):
    """A distilled model; `layers` of the teacher's `teacher_layers`."""

    layers: int
    teacher_layers: int


class Quantized(Model):
    """A quantised model and its scheme."""

    scheme: str


class Classifier(Model):
    """A model with a head over labels; `trained_on` counts the rows of each label."""

    labels: list[str]
    trained_on: dict[str, int]


class Preferred(Declared):
    """What preference tuning did to pairs that it did not see.

    The implicit reward of an answer is beta times what its log-probability has gained since before the tuning
    (Rafailov et al., 2023). A tie counts half: before the tuning all are, so the share of pairs won is 0.5 and the margin 0.
    """

    won: Proportion  # pairs whose chosen answer has the greater implicit reward
    margin: Change  # implicit reward of the chosen answer above that of the rejected one
    likelier: Change  # share of pairs whose chosen answer is the likelier one, per token


class Aligned(Model):
    """A preference-tuned model, and what held-out pairs say of it (None where the split holds none out)."""

    held_out: Preferred | None


class Reinforced(Model):
    """A model trained on rewards.

    `watched` has every reward on held-out prompts, before and after; those in `trained` are what it was trained on, the
    others judge it. `constant` are rewards that told none of the answers apart that were sampled before the training.
    """

    trained: list[str]
    constant: list[str]
    watched: dict[str, Change]
    ranking: Proportion | None = None  # of the reward model that took part, on held-out pairs

    @property
    def suspicion(self) -> str | None:
        """Why the rewards may have been gamed: what is trained on rose while what judges fell, both beyond chance."""
        rose = [name for name in self.trained if (change := self.watched.get(name)) and (change.low or 0) > 0]
        fell = [name for name, change in self.watched.items() if name not in self.trained and (change.high or 0) < 0]
        if not rose or not fell:
            return None
        return f"{', '.join(rose)} rose while {', '.join(fell)} fell: the model may have learned the reward instead of the task"


class RewardModel(Artifact):
    """A model that scores answers, and the share of held-out pairs that it ranks right (None where there are none)."""

    parameters: int
    bytes: int
    data: dict[str, int] = {}
    drawn: dict[str, Drawn] = {}
    ranking: Proportion | None
