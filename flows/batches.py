"""`slmforge plan --batches`: what each training will see, token by token, and what is cut from its data."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from tasks.lib import base_checks, store
from tasks.lib.environment import muted
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Job, Order
from tasks.lib.plan import Planner
from tasks.lib.trial import require_usable_tokenizer

LEARNED, CONTEXT, SPECIAL, BORDER = "green", "dim", "magenta", "yellow"
OPEN, CLOSE, BEGIN = "⟦", "⟧", "¶"
OTHERS = ("distill",)  # trainings of which no example is drawn
LOST = ("too_long", "part_too_long", "tokens_left_out", "truncated", "tokens_truncated", "replay_cut")


def of(asked: Order, job: Job[Any], planner: Planner, count: int) -> list[Any]:
    """What the flow's trainings will see; nothing is trained.

    Raises:
        ConfigError: if the data are not prepared, or the base is not there, naming the command that makes it.
    """
    from tasks import batches
    from tasks.split import split

    made = {row.name: row.id for row in planner.rows if row.id}
    data = _needed("split", "its data are not prepared", asked, planner, "check")
    model = _model(asked, job, planner, made)
    names = [row.name for row in planner.rows if row.name in batches.STAGES]
    with muted():
        return [batches.shown(name, job, _start(name, model, made), split.load(data), count) for name in names]


def _needed(stage: str, found: str, asked: Order, planner: Planner, command: str) -> store.Record:
    """The record of a stage that has run."""
    row = next(row for row in planner.rows if row.name == stage)
    record = store.find(row.id) if row.id else None
    if record is None:
        wanted = f"the first examples of each training of {asked.domain!r}"
        raise ConfigError(wanted, f"{found} ({stage} will run: {row.reason})", f"run `{_line(command, asked)}`, then this again")
    return record


def _line(command: str, asked: Order) -> str:
    """The command line of another command on the same order."""
    options = {"--config": asked.config, "--edition": asked.edition, "--mirror": asked.mirror}
    words = [word for option, value in options.items() if value is not None for word in (option, value)]
    return shlex.join(["slmforge", command, asked.domain, *asked.settings, *words])


def _model(asked: Order, job: Job[Any], planner: Planner, made: dict[str, str]) -> Path:
    """The base: as it is in the store, or where its files lie on this machine."""
    outside = base_checks.folder_of(job) if "base" not in made else None
    if outside is not None:
        require_usable_tokenizer(outside)
        return outside
    return store.root() / _needed("base", "its base is not made yet", asked, planner, "evaluate").id


def _start(name: str, base: Path, made: dict[str, str]) -> tuple[Path, bool]:
    """The folder whose tokenizer a training will use, and whether words are still to be added to it."""
    started = made.get("merge", made.get("pretrain")) if name != "pretrain" else None
    return (base, True) if started is None else (store.root() / started, False)


def told(one: Any) -> dict[str, Any]:
    """One training, for machines."""
    examples = [
        [{**{key: value for key, value in asdict(part).items() if key not in ("spans", "label")}, **_labelled(part)} for part in example]
        for example in one.examples
    ]
    counts = {name: drawn.model_dump(exclude={"trained"}) for name, drawn in one.counts.items()}
    return {**asdict(one), "examples": examples, "counts": counts}


def _labelled(part: Any) -> dict[str, str]:
    return {"label": part.label} if part.label else {}


def show(found: list[Any], planner: Planner) -> None:
    """For people: the examples, in colour where there is any, and the counts."""
    from flows import screen

    coloured = screen.console.is_terminal and not screen.console.no_color and screen.console.color_system is not None
    _print(Text(""))
    screen.console.print(_legend(coloured), soft_wrap=not coloured)
    for one in found:
        _print(Text(f"\n{one.stage}: {len(one.examples)} of {one.of:,}, up to {one.length} tokens each{one.note and '; '}{one.note}"))
        for number, example in enumerate(one.examples, 1):
            for part in example:
                documents = f", {len(part.documents)} document{'s'[: len(part.documents) > 1]}" if part.name == "block" else ""
                learned = f"labelled {part.label!r}" if part.label else f"{sum(part.mask)} learned"
                _print(Text(f"\n{part.name} {number}: {len(part.ids)} tokens, {learned}{documents}"))
                _print(_drawn(part, coloured))
    _counts(found)
    if others := [row.name for row in planner.rows if row.name in OTHERS]:
        _print(Text(f"not shown: {', '.join(others)}"))


def _print(text: Text) -> None:
    """As it is: the terminal folds what is too wide, so that no space is lost."""
    from flows import screen

    screen.console.print(text, soft_wrap=True)


def _legend(coloured: bool) -> Text:
    """What the marks mean."""
    if not coloured:
        return Text(f"legend: {OPEN}learned{CLOSE} context; ↵ a line end that is learned; {BEGIN} a document begins, and sees no other")
    parts = [("learned", LEARNED), ("context", CONTEXT), ("special token, context", SPECIAL), ("special token, learned", f"bold {LEARNED}")]
    legend = Text("legend: ")
    for part in parts:
        legend.append_text(Text.assemble(part, "  "))
    legend.append("↵ a line end that is learned  ", LEARNED)
    return legend.append(f"{BEGIN} a document begins, and sees no other", BORDER)


def _drawn(part: Any, coloured: bool) -> Text:
    """The tokens as text."""
    text, several, before = Text(), part.name == "block", False
    for span in part.spans:
        if span.begins and several:
            text.append(CLOSE if before and not coloured else "").append("\n" if len(text) else "")
            text.append(f"{BEGIN} ", BORDER if coloured else "")
            before = False
        said = span.text.replace("\n", "↵\n") if span.learned else span.text  # a line end has no colour of its own
        if coloured:
            text.append(said, _style(span))
        else:
            text.append((OPEN if span.learned and not before else "") + (CLOSE if before and not span.learned else "") + said)
        before = span.learned
    return text.append(CLOSE) if before and not coloured else text


def _style(span: Any) -> str:
    """The colour of a span."""
    if span.learned:
        return f"bold {LEARNED}" if span.special else LEARNED
    return SPECIAL if span.special else CONTEXT


def _counts(found: list[Any]) -> None:
    """What is cut: of each training and dataset, over all rows."""
    from flows import screen

    table = Table(box=None, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("dataset", overflow="fold")
    for name in ("rows", "drawn", "too long", "in part", "tokens left out", "truncated", "tokens cut", "replay cut"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        for place, (name, drawn) in enumerate(one.counts.items()):
            cut = [f"{getattr(drawn, key):,}" for key in LOST]
            table.add_row("" if place else one.stage, name, f"{drawn.rows:,}", f"{drawn.drawn:,}", *cut)
    screen.console.print(
        "\nwhat is cut, counted over all rows (too long: left out, all of a row or some answers of a conversation; "
        "truncated: the beginning of the prompt is; "
        "replay: tokens of its last document, beyond the share)",
        style="italic",
    )
    screen.console.print(table)
