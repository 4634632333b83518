"""A domain's evaluation tasks: the part of lm-evaluation-harness's task format that is data, read strictly.

The harness lets a task file name Python functions, other files, scripts of a hub, and jinja programs (its jinja is no
sandbox). A domain may come from somebody else, so a task here is text with the row's fields in it, and nothing more.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from tasks.lib.config import Declared, build, read_yaml
from tasks.lib.errors import ConfigError

ROW = ("id", "system", "history", "prompt", "response", "choices", "label")  # what a row of an evaluation set may have
OF_CHOICES = frozenset({"choices", "label"})  # what it has only where the dataset declares choices
# of the harness: they run code, read other files, or make one file several tasks
CODE = (
    "include", "process_docs", "process_results", "custom_dataset", "class", "unsafe_code", "use_prompt", "fewshot_config",
    "doc_to_image", "doc_to_audio", "group", "group_alias", "task_list", "aggregate_metric_list",
)  # fmt: skip
BUILT_IN = ("general_word", "general_next")  # of `tasks.lib.general_tasks`
ACCURACIES = ("acc", "acc_norm", "acc_bytes")
MAX_TEMPLATE = 10_000  # characters; a row's prompt may be put in at every few of them


def fields(template: str) -> list[str]:
    """The row fields that a template names; a text that is a field's name is that field, as in the harness."""
    return [template] if template in ROW else re.findall(r"\{\{\s*(\w+)\s*\}\}", template)


def only_field(template: str) -> str | None:
    """The field that a template consists of, or None where there is more to it."""
    found = fields(template)
    return found[0] if len(found) == 1 and (template in ROW or re.fullmatch(r"\{\{\s*\w+\s*\}\}", template)) else None


def _plain(*allowed: str, least: int = 1) -> Callable[[str], str]:
    """A check that a template is text with `{{field}}` in it, `least` times or more, and no other jinja.

    Whatever passes is, to jinja, text and plain names: after an opening brace pair stands a known name and the closing pair.
    """
    grammar = re.compile(r"(?:[^{]|\{(?![{%#])|\{\{\s*(?:" + "|".join(allowed) + r")\s*\}\})*")
    wanted = " or ".join(f"{{{{{name}}}}}" for name in allowed)

    def check(template: str) -> str:
        if not grammar.fullmatch(template) or not set(fields(template)) <= set(allowed):
            raise ValueError(f"only plain text and {wanted} are allowed here: no other field, no expression, no filter")
        if len(fields(template)) < least:
            raise ValueError(f"it names no field, so it is the same for every row; write {wanted}")
        return template

    return check


def _regex(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return pattern


Regex = Annotated[str, AfterValidator(_regex)]
Template = Annotated[str, Field(max_length=MAX_TEMPLATE)]
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
SetFile = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*\.jsonl$")]


class LocalData(Declared):
    """`dataset_kwargs`: evaluation sets by the name of their split."""

    data_files: dict[SplitName, SetFile] = Field(min_length=1)


class Metric(Declared):
    """A metric that is right or wrong for each row; the score is the share of right ones."""

    metric: Literal["acc", "acc_norm", "acc_bytes", "exact_match"]
    aggregation: Literal["mean"] = "mean"
    higher_is_better: Literal[True] = True
    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_numbers: bool = False
    regexes_to_ignore: list[Regex] = []


class Generation(Declared):
    """`generation_kwargs`: greedy, so that a score is the same every time."""

    until: str | list[str] = []
    max_gen_toks: int = Field(default=256, ge=1)
    do_sample: Literal[False] = False
    temperature: float = Field(default=0, ge=0, le=0)


class Extraction(Declared):
    """A filter that keeps what a regular expression finds in an answer: the first (0) or the last (-1)."""

    function: Literal["regex"]
    regex_pattern: Regex
    group_select: Literal[0, -1] = 0
    fallback: str = "[invalid]"


class Change(Declared):
    """A filter without options."""

    function: Literal["remove_whitespace", "lowercase", "uppercase", "take_first"]


class Pipeline(Declared):
    """Filters of an answer, in order."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")
    filter: list[Annotated[Extraction | Change, Field(discriminator="function")]] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_answer(self) -> "Pipeline":
        if [place for place, step in enumerate(self.filter, 1) if step.function == "take_first"] != [len(self.filter)]:
            raise ValueError("the last filter, and no other, is {function: take_first}")
        return self


class Task(Declared):
    """One task file."""

    task: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")
    dataset_path: Literal["json"]
    dataset_kwargs: LocalData
    test_split: SplitName
    fewshot_split: SplitName | None = None
    num_fewshot: int = Field(default=0, ge=0, le=64)
    output_type: Literal["multiple_choice", "generate_until"]
    description: Annotated[Template, AfterValidator(_plain("prompt", "choices", "history", least=0))] = ""
    doc_to_text: Annotated[Template, AfterValidator(_plain("prompt", "choices", "history"))]
    doc_to_choice: Annotated[Template, AfterValidator(_plain("choices"))] | None = None
    doc_to_target: Annotated[Template, AfterValidator(_plain("response", "label"))]
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    generation_kwargs: Generation | None = None
    filter_list: list[Pipeline] | None = Field(default=None, min_length=1, max_length=1)
    metric_list: list[Metric] = Field(min_length=1, max_length=1)
    general: bool = Field(default=False, description="no task of the domain: asked as plain text, to tell what a model forgets")
    training: list[str] = Field(default=[], description="the tune datasets whose most frequent answer the scores are compared with")
    metadata: dict[str, JsonValue] = {}

    @property
    def sets(self) -> dict[str, str]:
        """Split -> the name of its evaluation set."""
        return {split: Path(file).stem for split, file in self.dataset_kwargs.data_files.items()}

    @property
    def metric(self) -> Metric:
        """The metric that is the task's score."""
        return self.metric_list[0]

    @property
    def renders_history(self) -> bool:
        """Whether its own text shows the turns before a prompt; else they are given as turns."""
        return "history" in (*fields(self.description), *fields(self.doc_to_text))

    @property
    def choices_needed(self) -> bool:
        """Whether its rows must have choices."""
        templates = (self.description, self.doc_to_text, self.doc_to_choice or "", self.doc_to_target)
        return any(OF_CHOICES & set(fields(template)) for template in templates)


def evaluation_sets(datasets: Sequence[Any]) -> dict[str, bool]:
    """The evaluation sets that datasets of a card make, and whether their rows have choices."""
    return {f"{d.name}{'-heldout' if d.role == 'tune' else ''}": bool(d.choices) for d in datasets if d.role == "eval" or d.holdout}


def read(folder: Path, datasets: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """The evaluation tasks of a domain folder by file name, checked as far as can be without data.

    Args:
        folder: the domain's folder.
        datasets: the datasets of its card (`Any`, because the card's module needs this one).

    Raises:
        ConfigError: naming the file and the key that is unknown, not allowed, or does not fit the card.
    """
    _refuse_unread(folder)
    sets = evaluation_sets(datasets)
    tasks: dict[str, dict[str, Any]] = {}
    named: dict[str, Path] = {}
    for file in sorted((folder / "eval").glob("*.yaml")):
        task = _read(file)
        _check_sets(task, file, sets)
        _check_turns(task, file, datasets)
        _check_training(task, file, [d.name for d in datasets if d.role == "tune"])
        if other := named.get(task.task):
            raise ConfigError(f"evaluation tasks in {folder / 'eval'}, each with a name of its own",
                              f"`task: {task.task}` in {other.name} and in {file.name}", f"rename the task in {file.name}")  # fmt: skip
        if task.task in BUILT_IN:
            raise ConfigError(f"evaluation task {file}: task", f"{task.task}, which slmforge brings itself", "choose another name")
        named[task.task] = file
        tasks[file.stem] = task.model_dump(mode="json", exclude_unset=True)
    return tasks


def _read(file: Path) -> Task:
    asked = f"evaluation task {file}"
    written = read_yaml(file)
    if isinstance(written, dict) and (code := [str(key) for key in written if key in CODE]):
        raise ConfigError(asked, f"the key(s) {', '.join(code)}", "remove them: a task is data here, and names no code and no other file")
    task = build(Task, written, asked)
    for key, found, remedy in (*_misfits(task), *_misfits_of_output(task)):
        raise ConfigError(f"{asked}: {key}", found, remedy)
    return task


def _misfits(task: Task) -> Iterator[tuple[str, str, str]]:
    """Splits and files that do not go together: the key, what was found, what to do."""
    files = task.dataset_kwargs.data_files
    for key in ("test_split", "fewshot_split"):
        if (split := getattr(task, key)) is not None and split not in files:
            yield key, f"{split!r}, which has no file", f"use {' or '.join(files)}, or name its file in dataset_kwargs.data_files"
    if task.num_fewshot and task.fewshot_split is None:
        # the harness would draw from the test rows, the one that is asked among them
        yield "num_fewshot", "no `fewshot_split` to draw examples from", "give it a file of its own in dataset_kwargs.data_files"
    if len(set(files.values())) < len(files):
        yield "dataset_kwargs.data_files", "one file for two splits", "give each its own; `fewshot_split` may be the test split"


def _misfits_of_output(task: Task) -> Iterator[tuple[str, str, str]]:
    """Keys that do not go with the output type."""
    metric = task.metric.metric
    wanted = ACCURACIES if task.output_type == "multiple_choice" else ("exact_match",)
    if metric not in wanted:
        yield "metric_list", f"{metric} with output_type {task.output_type}", f"use {' or '.join(wanted)}"
    if task.output_type == "generate_until":
        if "response" not in fields(task.doc_to_target):
            yield "doc_to_target", repr(task.doc_to_target), "write {{response}}, with which the generated text is compared"
        if task.doc_to_choice is not None:
            yield "doc_to_choice", "options for generated text", "remove it, or use output_type: multiple_choice"
        return
    for key, example in (("doc_to_choice", "{{choices}}"), ("doc_to_target", "{{label}}")):
        if only_field(getattr(task, key) or "") is None:
            yield key, repr(getattr(task, key)), f'multiple_choice takes "{example}" there, without more text'
    for key in ("generation_kwargs", "filter_list"):
        if getattr(task, key) is not None:
            yield key, "settings of generated text with output_type multiple_choice", f"remove {key}"


def _check_sets(task: Task, file: Path, sets: dict[str, bool]) -> None:
    """Every evaluation set that the task names is one that the card makes, with choices where the task needs them."""
    for split, name in task.sets.items():
        asked = f"evaluation task {file}: dataset_kwargs.data_files.{split}"
        if name not in sets:
            near = difflib.get_close_matches(name, sets, 1, 0.4)
            remedy = f"did you mean {near[0] + '.jsonl'!r}? " if near else ""
            raise ConfigError(asked, f"{name + '.jsonl'!r}, which no dataset in domain.yaml makes",
                              f"{remedy}NAME.jsonl is a dataset with role eval, NAME-heldout.jsonl the holdout of a tune dataset")  # fmt: skip
        if task.choices_needed and not sets[name]:
            raise ConfigError(
                asked, f"rows of {name!r} have no choices", "declare `choices:` at that dataset, or use output_type generate_until"
            )


def _check_turns(task: Task, file: Path, datasets: Sequence[Any]) -> None:
    """Turns before a prompt are shown where there are some, and an example is one question."""
    talks = {f"{d.name}{'-heldout' if d.role == 'tune' else ''}" for d in datasets if "messages" in d.map}
    asked, name = f"evaluation task {file}", task.sets[task.test_split]
    if task.renders_history and name not in talks:
        raise ConfigError(asked, f"{{{{history}}}}, which rows of {name!r} do not have", "remove it; a dataset that maps `messages` has it")
    if task.general and name in talks and not task.renders_history:
        found = f"rows of {name!r}, which are conversations, in a general task: it is asked as plain text, without the turns before"
        raise ConfigError(asked, found, "write them with {{history}} in doc_to_text, or remove `general`")
    if task.num_fewshot and talks & {name, task.sets[task.fewshot_split or task.test_split]}:
        found = f"num_fewshot {task.num_fewshot} with rows that are conversations"
        raise ConfigError(asked, found, "set num_fewshot to 0: an example is one question and its answer")


def _check_training(task: Task, file: Path, tuned: list[str]) -> None:
    """Every dataset whose answers are the task's baseline is one to tune on."""
    if unknown := [name for name in task.training if name not in tuned]:
        raise ConfigError(
            f"evaluation task {file}: training", f"{unknown[0]!r}, which is no dataset with role tune", f"name any of: {', '.join(tuned)}"
        )


def _refuse_unread(folder: Path) -> None:
    """A file that looks like one of ours and would not be read."""
    for file in [*sorted((folder / "eval").rglob("*")), *sorted(folder.glob("expectations.*"))]:
        right = folder / "expectations.yaml" if file.parent == folder else folder / "eval" / f"{file.stem}.yaml"
        if file.suffix.lower() in (".yaml", ".yml") and file != right:
            raise ConfigError(
                f"YAML below {folder} that is read", f"{file}, which would not be", f"rename it to {right.relative_to(folder)}"
            )
