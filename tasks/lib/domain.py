"""A domain folder as a contract: what `domain.yaml` may say, read and checked without touching data."""

import difflib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tasks.lib import card_values, drift, general_tasks, packs, places, suite
from tasks.lib.chats import require_mappable
from tasks.lib.cleaning import clean
from tasks.lib.config import RUNTIME, Declared, build, read_yaml
from tasks.lib.drift import Accepted, DriftLimits
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.expectations_result import SEVERITIES
from tasks.lib.origins import BuiltinSource, HubSource, ObjectSource, PathSource, PublishedSource, QuerySource, Source, SubsetSource
from tasks.lib.rewards import Reward, Rewards, nearest
from tasks.lib.waivers import Waiver, parted

Role = Literal["corpus", "tune", "preference", "eval", "general"]
Edition = Literal["starter", "full"]
Column = Literal[
    "text", "system", "history", "prompt", "response", "chosen", "rejected", "answer", "a", "b", "smiles", "rating", "winner", "group", "id", "row"
]  # fmt: skip
ROLE_MAPS: dict[str, tuple[frozenset[str], ...]] = {
    "corpus": (frozenset({"text"}),),
    "general": (frozenset({"text"}),),
    "tune": (frozenset({"prompt", "response"}), frozenset({"messages"})),
    "eval": (frozenset({"prompt", "response"}), frozenset({"messages"})),
    "preference": (
        frozenset({"prompt", "chosen", "rejected"}),
        frozenset({"prompt", "answer", "rating"}),
        frozenset({"prompt", "a", "b", "winner"}),
    ),
}
Format = Literal["jsonl", "json", "csv", "tsv", "txt", "parquet", "arrow", "xlsx", "xml", "md", "html", "pdf", "docx"]
OPTIONAL_MAPS = frozenset({"group", "system"})
# what `slmforge new` writes where only a person can say something, and what is recorded as long as nobody has
PLACEHOLDERS = {"purpose": "say in one sentence what the model is for", "owner": "who answers for it"}
NOT_STATED = "not stated"
AS_WRITTEN = ("format", "encoding", "delimiter", "header", "sheet")  # what is said of how a file is written


class Dataset(Declared):
    """One dataset of a domain: where it is from, what may be done with it, and how a row is read."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="small letters, digits and hyphens")
    role: Role = Field(description="what the rows are for: documents, answers to learn, preferences, evaluation, general text")
    edition: Edition | None = Field(default=None, description="the edition that it belongs to; both when not set")
    title: str = Field(default="", description="as its publisher calls it")
    publisher: str = Field(default="", description="who published it")
    source: Source = Field(description="where it is from")
    licence: str = Field(min_length=1, description="one of the domain's `licences:`")
    kind: Literal["public", "licensed", "scraped", "user", "synthetic"] = Field(description="of source, as the EU's AI Act, Art. 53, asks")
    format: Format | None = Field(default=None, description="when the file's name does not say it")
    encoding: Annotated[str, AfterValidator(card_values.known_encoding)] | None = Field(default=None, description="UTF-8 when not set")
    undecodable: Literal["refuse", "set-aside"] = Field(default="refuse", description="what becomes of rows with bytes that are no text")
    broken: Literal["refuse", "set-aside"] = Field(
        default="refuse", description="what becomes of a row of JSONL, CSV or TSV that cannot be read"
    )
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="between cells; a comma when not set")
    header: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="the row with the names of the columns, as a spreadsheet counts; the first one with any cell",
    )
    sheet: str | None = Field(default=None, description="of a workbook; needed where it has several")
    records: Annotated[str | None, AfterValidator(card_values.safe_jq)] = Field(default=None, description="rows of nested JSON, in jq")
    columns: dict[str, Literal["text", "number", "smiles", "json"]] = Field(
        default={}, description="what the cells of a column have to be; json: an object or a list, which becomes its JSON"
    )
    values: dict[str, dict[str, str]] = Field(default={}, description="by column, what each value is replaced by; others are set aside")
    choices: list[str] = Field(default=[], description="the labels of a classification")
    map: Annotated[dict[str, str], AfterValidator(card_values.plain_columns)] = Field(description="what each field of a row is made of")
    holdout: int = Field(default=0, ge=0, description="rows that are kept for evaluation, as the set NAME-heldout")
    # no part of what is read: trainings have the weights as an input of their own
    weight: float = Field(
        default=1.0, gt=0, le=1000, json_schema_extra=RUNTIME, description="how often each row is drawn in one pass of training"
    )

    @model_validator(mode="after")
    def _shape(self) -> "Dataset":
        given = frozenset(self.map) - OPTIONAL_MAPS
        if given not in ROLE_MAPS[self.role]:
            wanted = " or ".join(", ".join(sorted(shape)) for shape in ROLE_MAPS[self.role])
            raise ValueError(f"role {self.role} maps {wanted}; the map has {', '.join(sorted(given)) or 'nothing'}")
        if self.holdout and self.role != "tune":
            raise ValueError("holdout is for the role tune")
        if "messages" in self.map:
            require_mappable(self.map["messages"], bool(self.choices))
        if self.weight != 1 and self.role not in ("corpus", "tune", "preference"):
            raise ValueError("weight is for the roles corpus, tune and preference; of general text, `replay` of a stage says how much")
        if isinstance(self.source, QuerySource) and (said := [key for key in AS_WRITTEN if getattr(self, key) is not None]):
            raise ValueError(f"`{said[0]}:` is for files; the rows of a query have none")
        if self.broken == "set-aside" and (isinstance(self.source, QuerySource) or self.format not in (None, "jsonl", "csv", "tsv")):
            raise ValueError("`broken: set-aside` is for jsonl, csv and tsv; elsewhere nobody can say where a broken row ends")
        if self.choices and self.role not in ("tune", "eval"):
            raise ValueError("choices are for the roles tune and eval")
        if odd := [c for c in self.choices if not c or clean(c) != c or self.choices.count(c) > 1]:
            raise ValueError(f"choices are given once each, without odd spaces or characters; not so: {odd[0]!r}")
        return self

    @property
    def file_name(self) -> str:
        """The name by which ledgers call this dataset's file."""
        match self.source:
            case PathSource(path=path):
                return path
            case PublishedSource(url=url) | ObjectSource(url=url):
                return url.rsplit("/", 1)[-1]
            case HubSource(files=files):
                return files
            case QuerySource():
                return f"{self.name}.parquet"
            case SubsetSource(file=file):
                return file
            case BuiltinSource(builtin=builtin):
                return builtin


class DomainCard(Declared):
    """`domain.yaml`: purpose, duties and datasets of one domain."""

    purpose: str = Field(min_length=1, description="what the model is for, in a sentence")
    excluded_uses: list[str] = Field(default=[], description="what it must not be used for")
    owner: str = Field(min_length=1, description="who answers for it")
    risk: Literal["low", "medium", "high"] = Field(description="of its use, as its owner judges it")
    schedule: Annotated[str, AfterValidator(card_values.cron)] | None = Field(default=None, description="of retraining, as cron has it")
    licences: list[str] = Field(min_length=1, description="what datasets may be under")
    sensitive: list[Column] = Field(default=[], description="fields whose values are kept out of check results")
    config: dict[str, Any] = Field(default={}, description="settings of stages, below those of `--config`")
    datasets: list[Dataset] = Field(min_length=1, description="what the model learns from and is judged by")
    rewards: list[Reward] = Field(default=[], description="what answers are rewarded for, in `slmforge rlhf`")

    @property
    def unstated(self) -> list[str]:
        """A sentence on each key that still holds the words of the template."""
        fields = [key for key, text in PLACEHOLDERS.items() if getattr(self, key).strip() == text]
        return [f"`{key}:` in domain.yaml is still the template's; until somebody fills it in, it is {NOT_STATED!r}" for key in fields]

    @model_validator(mode="after")
    def _names_once(self) -> "DomainCard":
        names = [dataset.name for dataset in self.datasets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"dataset names must be unique; given twice: {', '.join(twice)}")
        held = {f"{dataset.name}-heldout" for dataset in self.datasets if dataset.holdout}
        if clash := sorted(held & set(names)):
            raise ValueError(f"{clash[0]!r} is the evaluation set that a `holdout:` makes; give the dataset another name")
        return self

    @model_validator(mode="after")
    def _rewards_of_what_there_is(self) -> "DomainCard":
        names = [reward.name for reward in self.rewards]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"reward names must be unique; given twice: {', '.join(twice)}")
        tuned = [dataset.name for dataset in self.datasets if dataset.role == "tune"]
        for reward in self.rewards:
            if unknown := [name for name in reward.datasets if name not in tuned]:
                raise ValueError(f"reward {reward.name}: no tune dataset is called {unknown[0]!r}; {nearest(unknown[0], tuned)}")
        return self


def _known_severities(entries: list[dict[str, dict[str, Any]]]) -> list[dict[str, dict[str, Any]]]:
    for name, arguments in ((name, arguments) for entry in entries for name, arguments in entry.items()):
        severity = arguments.get("severity", SEVERITIES[0])
        if severity not in SEVERITIES:
            near = difflib.get_close_matches(str(severity), SEVERITIES, 1)
            raise ValueError(
                f"{name}: severity {severity!r}; write {near[0] if near else ', '.join(SEVERITIES[:-1]) + ' or ' + SEVERITIES[-1]}"
            )
    return entries


Entries = Annotated[list[dict[str, dict[str, Any]]], AfterValidator(_known_severities)]


class Expected(Declared):
    """`expectations.yaml`: expectations under Great Expectations' own names by role, packs of them, waivers, limits of drift."""

    packs: list[str] = []
    corpus: Entries = []
    tune: Entries = []
    preference: Entries = []
    eval: Entries = []
    general: Entries = []
    waivers: list[Waiver] = []
    drift: DriftLimits = DriftLimits()


class Expectations(Expected):
    """What is expected of a domain's data, with what the card calls sensitive, accepted snapshots, and waivers that ran out."""

    sensitive: list[str] = []
    accepted: dict[str, Accepted] = {}
    lapsed: list[Waiver] = []


class Suite(Declared):
    """The domain's evaluation tasks (lm-evaluation-harness YAML), by file name."""

    tasks: dict[str, dict[str, Any]]
    general_text: str = ""  # sha256 of the text that the general tasks of `evaluate.general_tasks` are made from

    def of_domain(self) -> dict[str, dict[str, Any]]:
        """The tasks that are the domain's own."""
        return {name: task for name, task in self.tasks.items() if not task.get("general")}

    def general(self) -> dict[str, dict[str, Any]]:
        """The tasks of the folder that are marked as general."""
        return {name: task for name, task in self.tasks.items() if task.get("general")}


class Duties(Declared):
    """What a model version owes: whose it is, what for, what not for."""

    domain: str
    purpose: str
    excluded_uses: list[str]
    owner: str
    risk: str


class Domain(Declared):
    """A domain folder, read: the card, the expectations and the evaluation tasks."""

    name: str
    folder: Path = Field(json_schema_extra=RUNTIME)
    card: DomainCard
    expectations: Expectations
    suite: Suite

    @property
    def duties(self) -> Duties:
        """The duties of every model of this domain."""
        c = self.card
        said = {key: NOT_STATED if getattr(c, key).strip() == text else getattr(c, key) for key, text in PLACEHOLDERS.items()}
        return Duties(domain=self.name, excluded_uses=c.excluded_uses, risk=c.risk, **said)

    def expected(self, edition: Edition) -> Expectations:
        """What is expected of an edition's data: the snapshots are those of its own."""
        of_edition = {name: entry for name, entry in self.expectations.accepted.items() if entry.edition == edition}
        return self.expectations.model_copy(update={"accepted": of_edition})

    def rewards(self, edition: Edition) -> Rewards:
        """The rewards of an edition: those that name no dataset, or one that it has."""
        known = {dataset.name for dataset in self.of_edition(edition)}
        return Rewards(of=[reward for reward in self.card.rewards if not reward.datasets or known & set(reward.datasets)])

    def of_edition(self, edition: Edition) -> list[Dataset]:
        """The datasets of one edition, in the order of the card."""
        return [dataset for dataset in self.card.datasets if dataset.edition in (None, edition)]

    def require_licence(self, dataset: Dataset) -> None:
        """Refuse a dataset under a licence that the domain does not allow.

        Raises:
            DataError: saying what to do.
        """
        if dataset.licence not in self.card.licences:
            raise DataError(
                f"dataset {dataset.name!r} under a licence that the domain allows ({', '.join(self.card.licences)})",
                f"licence {dataset.licence!r}",
                "remove the dataset, or have the domain's owner add the licence to `licences:`",
                file=self.folder / "domain.yaml",
            )


def load(name: str) -> Domain:
    """Read and check a domain folder.

    Raises:
        ConfigError: if the folder, the card, the expectations or a task file is not as documented.
    """
    folder = places.domain_folder(name)
    file = folder / "domain.yaml"
    card = build(DomainCard, read_yaml(file) or {}, f"the domain card {file}")
    beside = {"sensitive": card.sensitive, "accepted": drift.accepted(folder, card.sensitive), "lapsed": []}
    expectations = build(Expectations, beside, f"the domain folder {folder}")
    if (file := folder / "expectations.yaml").is_file():
        written = read_yaml(file) or {}
        if not isinstance(written, dict) or set(beside) & set(written):
            found = "`sensitive:`, `accepted:` or `lapsed:`" if isinstance(written, dict) else "no mapping at the top"
            remedy = "write `corpus:`, `tune:` …; `sensitive:` belongs to domain.yaml, and `slmforge accept` writes what is accepted"
            raise ConfigError(f"expectations {file} by role", found, remedy)
        expectations = build(Expectations, {**packs.expand(written, file), **beside}, f"expectations {file}")
        held, lapsed = parted(expectations.waivers, datetime.now(UTC).date())
        expectations = expectations.model_copy(update={"waivers": held, "lapsed": lapsed})
    tasks = suite.read(folder, card.datasets)
    return Domain(
        name=name, folder=folder, card=card, expectations=expectations, suite=Suite(tasks=tasks, general_text=general_tasks.digest())
    )
