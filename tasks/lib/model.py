"""The model artifact, without the libraries that load it."""

from tasks.lib.architecture import Architecture
from tasks.lib.mixing import Drawn
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
