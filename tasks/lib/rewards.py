"""Rewards for answers, as a domain declares them: each kind is a pure function of an answer and the row that asked."""

import difflib
from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import regex
from pydantic import AfterValidator, Field

from tasks.lib import amounts, chemistry
from tasks.lib.config import Declared
from tasks.lib.errors import ConfigError
from tasks.lib.records import Row

SECONDS = 2.0  # that one match may take: a pattern may be of a kind that never ends
MARKS = ".,;:!?\"'`"


def _pattern(written: str) -> str:
    try:
        regex.compile(written)
    except regex.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return written


Pattern = Annotated[str, AfterValidator(_pattern)]


class Judge(Declared):
    """What all rewards have in common: a name, a weight, and the rows that they are for."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    weight: float = Field(default=1.0, description="in the sum of rewards; with 0 it judges only, and nothing is trained on it")
    datasets: list[str] = Field(default=[], description="the tune datasets that it is for; all where none is named")
    when: Pattern | None = Field(default=None, description="a regular expression: for prompts in which it matches")

    def applies(self, row: Row) -> bool:
        """Whether the row's answers are judged by this reward."""
        named = not self.datasets or row["dataset"] in self.datasets
        return named and (self.when is None or _search(self.when, row["prompt"], self.name)) and self.judges(row)

    def judges(self, row: Row) -> bool:
        """Whether the row has what the judgment needs."""
        return True


class Verifiable(Judge):
    """A reward that follows from the answer and the row alone."""

    @abstractmethod
    def score(self, answer: str, row: Row) -> float:
        """The reward of an answer, from 0 to 1."""


class Format(Verifiable):
    """1 if the whole answer has the form of a regular expression."""

    kind: Literal["format"]
    pattern: Pattern

    def score(self, answer: str, row: Row) -> float:
        """By the `regex` library, which gives up after a while."""
        return float(_match(self.pattern, answer.strip(), self.name))


class Length(Verifiable):
    """1 up to `words` words, then less, and 0 from twice as many; an empty answer has 0."""

    kind: Literal["length"]
    words: int = Field(ge=1)

    def score(self, answer: str, row: Row) -> float:
        """Linear in what is too much."""
        said = len(answer.split())
        return 0.0 if said == 0 else min(1.0, max(0.0, 2 - said / self.words))


class Label(Verifiable):
    """1 if the answer names the wanted label and no other: of the dataset's choices, or, without any, nothing but the label."""

    kind: Literal["label"]

    def score(self, answer: str, row: Row) -> float:
        """Case and the marks around it aside."""
        said, wanted = _bare(answer).casefold(), row["response"].casefold()
        if not row.get("choices"):
            return float(said == _bare(wanted))
        named = {choice for choice in row["choices"] if _names(choice.casefold(), said)}
        inside = {choice for choice in named for other in named - {choice} if _names(choice.casefold(), other.casefold())}
        return float({choice.casefold() for choice in named - inside} == {wanted})


class Number(Verifiable):
    """1 if the answer's one number is the wanted one within a tolerance, its scale (thousand, million) and its unit considered."""

    kind: Literal["number"]
    tolerance: float = Field(default=0.005, ge=0, le=1, description="share of the wanted number")

    def judges(self, row: Row) -> bool:
        """Whether the wanted answer has one number."""
        return amounts.the_amount(row["response"]) is not None

    def score(self, answer: str, row: Row) -> float:
        """An answer with several numbers has 0: naming many is no way to name the right one."""
        wanted = amounts.the_amount(row["response"])
        return float(wanted is not None and amounts.is_right(amounts.the_amount(answer), wanted, self.tolerance))


class Molecular(Verifiable):
    """What rewards about molecules have in common: where the right answer is read from."""

    of: Literal["response", "group"] = Field(default="response", description="the field that holds the molecule, or the right answer")

    def wanted(self, row: Row) -> str:
        """The field's text."""
        return _bare(str(row.get(self.of) or ""))


class SmilesValid(Verifiable):
    """1 if the answer is a SMILES that RDKit can read."""

    kind: Literal["smiles-valid"]

    def score(self, answer: str, row: Row) -> float:
        """Of the whole answer."""
        said = _bare(answer)
        return float(bool(said) and chemistry.smiles_fault(said) is None)


class SmilesSame(Molecular):
    """1 if the answer is a SMILES of the wanted molecule, in any spelling."""

    kind: Literal["smiles-same"]

    def judges(self, row: Row) -> bool:
        """Whether the field holds a molecule."""
        return chemistry.canonical(self.wanted(row)) is not None

    def score(self, answer: str, row: Row) -> float:
        """By RDKit's canonical SMILES."""
        return float(chemistry.canonical(_bare(answer)) == chemistry.canonical(self.wanted(row)))


class Formula(Molecular):
    """1 if the answer is the molecular formula that is wanted (`of: group`: of the molecule there), in any order of its elements."""

    kind: Literal["formula"]

    def judges(self, row: Row) -> bool:
        """Whether the field holds a formula, or the group a molecule."""
        return self._atoms(row) is not None

    def score(self, answer: str, row: Row) -> float:
        """By the atoms of each element; of a sentence, its last word counts."""
        said = _bare(answer).rpartition(" ")[2]
        return float(chemistry.formula_atoms(said) == self._atoms(row))

    def _atoms(self, row: Row) -> dict[str, int] | None:
        return (chemistry.smiles_atoms if self.of == "group" else chemistry.formula_atoms)(self.wanted(row))


class MolecularWeight(Molecular):
    """1 if the answer's one number is the molecular weight within a tolerance."""

    kind: Literal["molecular-weight"]
    tolerance: float = Field(default=0.001, ge=0, le=1, description="share of the weight")

    def judges(self, row: Row) -> bool:
        """Whether the field holds a number or a molecule."""
        return self._weight(row) is not None

    def score(self, answer: str, row: Row) -> float:
        """In g/mol, whatever unit is said."""
        said, wanted = amounts.the_amount(answer), self._weight(row)
        return float(said is not None and wanted is not None and abs(said.value - wanted) <= self.tolerance * wanted)

    def _weight(self, row: Row) -> float | None:
        if (computed := chemistry.weight(self.wanted(row))) is not None:
            return computed
        said = amounts.the_amount(self.wanted(row))
        return None if said is None else said.value


class FunctionalGroups(Molecular):
    """How well the groups that the answer names agree with those of the wanted molecule: F1 of the two sets."""

    kind: Literal["functional-groups"]

    def judges(self, row: Row) -> bool:
        """Whether the field holds a molecule, or the names of groups."""
        return bool(self._groups(row))

    def score(self, answer: str, row: Row) -> float:
        """An answer that is a SMILES has the groups of its molecule."""
        wanted, said = self._groups(row), chemistry.groups(_bare(answer)) or _named_groups(answer)
        return 2 * len(wanted & said) / (len(wanted) + len(said)) if wanted else 0.0

    def _groups(self, row: Row) -> frozenset[str]:
        return chemistry.groups(self.wanted(row)) or _named_groups(self.wanted(row))


class LearnedReward(Judge):
    """The score of the trained reward model: any number; it has a meaning beside other answers only."""

    kind: Literal["model"]


Reward = Annotated[
    Format | Length | Label | Number | SmilesValid | SmilesSame | Formula | MolecularWeight | FunctionalGroups | LearnedReward,
    Field(discriminator="kind"),
]


class Rewards(Declared):
    """The rewards of a domain."""

    of: list[Reward] = []

    def chosen(self, names: list[str]) -> list[Any]:
        """Those to train on: the named ones, or all that have a weight.

        Raises:
            ConfigError: for a name that there is not, with the nearest, or if there is nothing to train on.
        """
        known = [reward.name for reward in self.of]
        if unknown := [name for name in names if name not in known]:
            raise ConfigError("rewards to train on", f"no reward {unknown[0]!r}", nearest(unknown[0], known))
        picked = [reward for reward in self.of if (reward.name in names if names else reward.weight != 0)]
        if not picked or not any(reward.weight for reward in picked):
            raise ConfigError("a reward to train on", "none with a weight", "add one to `rewards:` in domain.yaml")
        return picked


def nearest(name: str, known: Iterable[str]) -> str:
    """What to do about a name that is not known."""
    listed = list(known)
    near = difflib.get_close_matches(name, listed, 1, 0.4)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}one of: {', '.join(listed) or 'none'}"


def _bare(text: str) -> str:
    return text.strip().strip(MARKS).strip()


def _names(choice: str, text: str) -> bool:
    return regex.search(rf"(?<![\w-]){regex.escape(choice)}(?![\w-])", text) is not None


def _named_groups(text: str) -> frozenset[str]:
    lowered = text.casefold()
    return frozenset(name for name in chemistry.GROUPS if regex.search(rf"(?<!\w){name}s?(?!\w)", lowered))


def _search(pattern: str, text: str, name: str) -> bool:
    return _timed(regex.search, pattern, text, name)


def _match(pattern: str, text: str, name: str) -> bool:
    return _timed(regex.fullmatch, pattern, text, name)


def _timed(match: Any, pattern: str, text: str, name: str) -> bool:
    try:
        return match(pattern, text, timeout=SECONDS) is not None
    except TimeoutError as error:
        found = f"no end after {SECONDS:g} s on a text of {len(text)} characters"
        raise ConfigError(f"reward {name}: a match of {pattern!r}", found, "write the expression without nested repeats") from error
