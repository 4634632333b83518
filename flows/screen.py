"""What people read in the terminal: tables and a line per stage."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.lib import chats
from tasks.lib.execute import Event
from tasks.lib.failing import Failure
from tasks.lib.records import LedgerLine, by_dataset, introduced

# a pipe has no width of its own: wide enough that no cell is folded; what is printed may hold brackets, so no markup
console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
SHOWN = 300  # characters of a value
NARROW = 120  # columns, below which a plan's reasons stand under its table: beside it their words would be broken
MARKS = {
    "cached": Text("=", "dim"),
    "made": Text("+", "green"),
    "refused": Text("x", "red"),
    "run": Text(">", "yellow"),
    "blocked": Text("x", "red"),
}

STATES = {"FINISHED": "green", "CACHED": "dim", "NOTHING CHANGED": "dim", "RUNNING": "yellow", "FAILED": "red", "KILLED": "red"}
KNOWN = {"report": "report", "MLflow": "mlflow_run", "Prefect": "prefect_flow_run"}  # where a run is known, and by which field


def story(event: Event) -> None:
    """A line when a stage starts to run, and one when it is done."""
    if event.state == "started":
        _hung(Text.assemble(MARKS["run"], f" {event.name:<18} "), Text(event.cause, "dim"))
        return
    what = "" if event.artifact is None else summary(event.artifact, event.record.measured if event.record else {})
    seconds = "  cached" if event.state == "cached" else f"{event.seconds:6.1f} s"
    _hung(Text.assemble(MARKS[event.state], f" {event.name:<18} {seconds}  "), Text(what))


def _hung(head: Text, text: Text) -> None:
    """A head and a text; in a terminal the text is wrapped between its words, below itself."""
    if not console.is_terminal:
        console.print(Text.assemble(head, text), soft_wrap=True)
        return
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(head, text)
    console.print(grid)


def _judged(artifact: Any) -> list[str]:
    """What held-out pairs and prompts say of a training on preferences or rewards."""
    if watched := getattr(artifact, "watched", None):
        return [f"{name} {change.before:.2f} to {change.after:.2f}" for name, change in watched.items()]
    if (ranking := getattr(artifact, "ranking", None)) is not None:
        return [f"{ranking.value:.2f} of held-out pairs ranked right"]
    held = getattr(artifact, "held_out", None)
    return [] if held is None else [f"{held.won.value:.2f} of held-out pairs won"]


def summary(artifact: Any, measured: dict[str, Any]) -> str:
    """What an artifact is, in a few words."""
    parts: list[str] = []
    if hasattr(artifact, "ledger"):
        rows_in = sum(line.rows_in for line in artifact.ledger)
        used = sum(line.rows_used for line in artifact.ledger)
        parts.append(f"{rows_in:,} rows in, {used:,} used, {rows_in - used:,} set aside")
    if hasattr(artifact, "verdicts"):
        passed = sum(v.passed for v in artifact.verdicts)
        told = sum(not v.passed and not v.stops for v in artifact.verdicts)
        parts.append(f"{passed} of {len(artifact.verdicts)} expectations hold" + (f", {told} only told" if told else ""))
    if hasattr(artifact, "parameters") and not hasattr(artifact, "subject"):
        parts.append(f"{artifact.parameters / 1e6:.1f} M parameters, {artifact.bytes / 1e6:.1f} MB")
    if "tokens_per_second" in measured:
        parts.append(f"{measured['tokens_per_second']:,.0f} tokens/s")
    if "pairs_per_second" in measured:
        parts.append(f"{measured['pairs_per_second']:,.1f} pairs/s")
    parts += _judged(artifact)
    if hasattr(artifact, "subject"):
        parts += [f"{t.task} {t.value:.2f}" for t in artifact.tasks if t.value is not None]
        bits = artifact.domain_bits_per_byte
        parts.insert(0, "" if bits is None else f"{bits:.3f} bits/byte")
    if hasattr(artifact, "lineage_sha256"):
        parts.append(f"{artifact.name} version {artifact.version}")
    return ", ".join(part for part in parts if part)


def ledger(lines: list[LedgerLine], title: str) -> None:
    """Rows in, used and set aside, by dataset."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name, side in (("dataset", "left"), ("role", "left"), ("file", "left"), ("in", "right"), ("used", "right")):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]  # rich's literal type
    table.add_column("set aside", overflow="fold")
    for line in by_dataset(lines):
        aside = ", ".join(f"{n:,} {reason}" for reason, n in line.set_aside.items())
        table.add_row(line.dataset, line.role, line.file, f"{line.rows_in:,}", f"{line.rows_used:,}", aside)
    rows_in, used = sum(line.rows_in for line in lines), sum(line.rows_used for line in lines)
    table.add_section()
    table.add_row("all", "", "", f"{rows_in:,}", f"{used:,}", f"{rows_in - used:,} rows", style="bold")
    console.print(table)
    for line in by_dataset(lines):
        if line.written not in ("", "built in"):
            console.print(Text(f"{line.dataset}: read as {line.written}", "dim"), soft_wrap=not console.is_terminal)
    many = [name for name, count in Counter(line.dataset for line in lines).items() if count > 1]
    if many:
        told = f"{', '.join(many)}: what became of the rows of each file is told by --json, and by slmforge rows"
        console.print(Text(told, "dim"), soft_wrap=not console.is_terminal)
    for sentence in introduced(lines):
        console.print(Text(sentence, "dim"), soft_wrap=not console.is_terminal)


def rows(found: list[dict[str, Any]], aside: bool, *, whole: bool = False) -> None:
    """Rows with their place, why they were set aside, and how they begin, or all that they say."""
    for row in found:
        place = f"{row['file']}, row {row['row']}" + (f", page {row['page']}" if row.get("page") else "")
        place += f", {row['heading']}" if row.get("heading") else ""
        why = f"{row['reason']}: {row['detail']}" if row.get("detail") else row.get("reason", row.get("part", ""))
        console.print(Text.assemble((row["id"], "bold"), f"  {place}  ", (why, "yellow" if aside else "dim")), soft_wrap=True)
        for name, value in row["record"].items():
            for head, text in _turns(value) if isinstance(value, list) else [(f"{name} ", str(value))]:
                console.print(Text.assemble("    ", (head, "dim"), text if whole else _line(text)), soft_wrap=whole)


def _turns(history: list[dict[str, str]]) -> list[tuple[str, str]]:
    """The turns before a prompt, the last ones, each behind its speaker."""
    more, shown = chats.latest(history)
    return [*([(f"history ({more})", "")] if more else []), *((f"history, {turn['role']}: ", turn["content"]) for turn in shown)]


def _line(text: str) -> str:
    """A value on one line, and how long it is where not all of it is shown."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text):,} characters)"


def say(word: str, style: str, sentence: str) -> None:
    """A sentence behind a coloured word."""
    _hung(Text.assemble((word, style), " "), Text(sentence))


def failure(failed: Failure) -> None:
    """An expectation that is not met: what was expected, what was found, and the first rows."""
    note = ("note", "dim") if failed.verdict.severity == "info" else ("warning", "yellow")
    say(*(("fails", "red") if failed.verdict.stops else note), f"{failed.verdict.role}: {failed.told}: {failed.found}")
    for row in failed.rows:
        place = f"{row.place} ({row.id})" if row.place else row.id
        what = row.fault + (f", in: {row.excerpt}" if row.fault and row.excerpt else row.excerpt)
        _hung(Text(f"    {place}{': ' if what else ''}"), Text(_line(what), "dim"))


def plan(rows: list[dict[str, Any]]) -> None:
    """A plan's stages, and why they are in their state."""
    beside = console.width >= NARROW
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("stage", no_wrap=True)
    table.add_column("state")
    for name in ("last time", "memory", "disk"):
        table.add_column(name, justify="right", no_wrap=True)
    if beside:
        table.add_column("why", overflow="fold")
    for row in rows:
        table.add_row(
            MARKS[row["state"]], row["stage"], {"run": "will run"}.get(row["state"], row["state"]),
            "" if row["last_seconds"] is None else f"{row['last_seconds']:.0f} s",
            "" if row["memory"] is None else size(row["memory"]),
            "" if row["disk"] is None else size(row["disk"]),
            *([row["reason"]] if beside else []),
        )  # fmt: skip
    console.print(table)
    if not beside:
        console.print("\nwhy")
        for row in rows:
            if row["state"] != "cached":  # which all have the same reason
                _hung(Text(f"{row['stage']:<18} "), Text(row["reason"]))


def draws(shares: list[dict[str, Any]]) -> None:
    """What each training will draw of each dataset."""
    if not shares:
        console.print("\nwhat each training draws is known once the data are split: slmforge check NAME")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    table.add_column("dataset", overflow="fold")
    for name in ("weight", "rows", "a pass", "epochs", "trained"):
        table.add_column(name, justify="right", no_wrap=True)
    stage = None
    for share in shares:
        about = "~" if share["estimated"] else ""
        numbers = ["–" if share[key] is None else f"{about}{share[key]:,}" for key in ("size", "trained")]
        epochs = "–" if share["epochs"] is None else f"{about}{share['epochs']:.2f}"
        table.add_row(
            share["stage"] if share["stage"] != stage else "", share["dataset"], f"{share['weight']:g}",
            f"{share['rows']:,}", numbers[0], epochs, numbers[1],
        )  # fmt: skip
        stage = share["stage"]
    console.print("\nwhat each training draws, in tokens (of align and reward: pairs); ~ is estimated", style="italic")
    console.print(table)


def trials(found: Sequence[Any], best: Any, by: str) -> None:
    """What each trial of a search scored; the best one is marked."""
    fields, scores = list(found[0].values), list(next((one.scores for one in found if one.scores), {}))
    table = Table(box=None, pad_edge=False, title=f"trials, compared by {by}", title_justify="left", title_style="bold")
    for name in ("", *fields):
        table.add_column(name, overflow="fold")
    for name in scores:
        table.add_column(name.replace("_", " "), justify="right", overflow="fold")
    for one in found:
        numbers = ["–" if one.scores.get(name) is None else f"{one.scores[name]:.3f}" for name in scores]
        cells = numbers if one.error is None else [one.error, *[""] * (len(scores) - 1)]
        style = "bold" if one is best else "red" if one.error else ""
        table.add_row("*" if one is best else "", *(str(value) for value in one.values.values()), *cells, style=style)
    console.print()
    console.print(table)


def runs(lines: list[dict[str, Any]]) -> None:
    """Flow runs, where else they are known, and why some did not finish."""
    beside = console.width >= NARROW
    table = Table(box=None, pad_edge=False)
    for name in ("began (UTC)", "took"):
        table.add_column(name, no_wrap=True)
    for name in ("flow", "domain", "status", "started by"):
        table.add_column(name, overflow="fold")
    for name in ("made", "cached"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in KNOWN if beside else {}:
        table.add_column(name, no_wrap=True)
    for line in lines:
        status = f"{line['status']} ({line['stage']})" if line["status"] == "RUNNING" and line["stage"] else line["status"]
        table.add_row(
            _when(line), "" if line["seconds"] is None else duration(line["seconds"]), line["flow"], line["domain"],
            Text(status, STATES.get(line["status"], "")), line["trigger"] or "", str(len(line["made"])), str(len(line["cached"])),
            *([_short(line[key]) for key in KNOWN.values()] if beside else []),
        )  # fmt: skip
    console.print(table)
    known = [(line, [f"{name} {_short(line[key])}" for name, key in KNOWN.items() if line[key]]) for line in lines if not beside]
    _below("where else they are known", [(Text(_when(line)), ", ".join(places)) for line, places in known if places])
    failed = [line for line in lines if line["error"]]
    heads = [Text.assemble(f"{_when(line)}  {line['domain']}  ", (line["status"], "red")) for line in failed]
    _below("why they did not finish", [(head, line["error"]) for head, line in zip(heads, failed, strict=True)])


def _below(title: str, rows: list[tuple[Text, str]]) -> None:
    """What stands under a table, because beside it its words would be broken."""
    if rows:
        console.print(f"\n{title}")
    for head, text in rows:
        _hung(Text.assemble(head, "  "), Text(text))


def _when(line: dict[str, Any]) -> str:
    """When a run began; of older ones only their end is known."""
    when = (line["began"] or line["at"])[:19].replace("T", " ")
    return when if line["began"] else f"{when} (end)"


def _short(identifier: str | None) -> str:
    """Enough of an identifier to find it by: of a report, which is short, all of it."""
    return "" if identifier is None else identifier if "/" in identifier else identifier[:8]


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit in ("B", "kB") else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
