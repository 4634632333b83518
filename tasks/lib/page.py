"""The report's page: artifact records become sentences, tables and plots; the template places them.

Artifacts of stages are `Any` here, because lib does not import stages; `tasks/report.py` has their types.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.lib import feedback, page_evidence, page_general, page_labels, page_tasks, pages, plots, store
from tasks.lib.domain import Duties
from tasks.lib.model import Model
from tasks.lib.records import by_dataset, introduced
from tasks.lib.score import TaskScore
from tasks.lib.store import Record

NAMES = {
    "pretrain": "pretrained",
    "merge": "merged",
    "tune": "tuned",
    "align": "aligned",
    "reinforce": "reinforced",
    "distill": "student",
    "quantize": "quantised",
    "classify": "classifier",
}
KINDS = ("domain", "general")  # of held-out text
PARTS = {"corpus": "documents", "response": "answers"}  # what a student and its control are validated on
PACKING = (
    "rows", "rows_seen", "rows_not_reached", "rows_too_long", "rows_part_too_long", "rows_truncated", "pairs", "pairs_seen", "pairs_not_reached",
    "pairs_too_long", "answers_seen", "answers_not_reached", "prompts", "prompts_seen", "prompts_not_reached", "prompts_too_long", "tokens_given", "tokens", "tokens_seen", "tokens_not_reached", "tokens_truncated", "tokens_left_out", "replay_cut", "blocks", "blocks_not_reached",
    "tokens_trained", "pairs_trained", "answers_trained", "prompts_trained", "epochs", "steps", "control_tokens_neutralised",
)  # fmt: skip
LOST = frozenset(
    {"rows_truncated", "tokens_truncated", "rows_too_long", "rows_part_too_long", "pairs_too_long", "prompts_too_long", "tokens_left_out"}
)


@dataclass(frozen=True)
class Entry:
    """One model with its scores and the records of both."""

    model: Model
    scores: Any
    made: Record | None
    scored: Record | None
    shipped: bool

    @property
    def name(self) -> str:
        """What people call it."""
        return NAMES.get(self.model.stage, self.model.stage)

    @property
    def measured(self) -> dict[str, Any]:
        """What was measured while it was made."""
        return self.made.measured if self.made else {}

    @property
    def speed(self) -> float | None:
        """Tokens decoded a second."""
        return self.scored.measured.get("decode_tokens_per_second") if self.scored else None

    @property
    def latency(self) -> dict[str, Any]:
        """How long it takes to answer, and where that was measured."""
        return self.scored.measured if self.scored else {}

    @property
    def packing(self) -> dict[str, float]:
        """What became of rows and tokens; the passes over them, and all of the base's, are among the measurements."""
        facts = {key: self.measured[key] for key in PACKING if key in self.measured}
        return {**facts, **self.model.data}

    def task(self, name: str) -> TaskScore | None:
        """Its score of a task."""
        found: TaskScore | None = next((score for score in self.scores.tasks if score.task == name), None)
        return found

    def points(self, key: str) -> list[tuple[float, float]]:
        """A measured curve."""
        return [(point["step"], point[key]) for point in self.measured.get("curve") or [] if key in point]


@dataclass(frozen=True)
class Gain:
    """What a task gained from the base to the shipped model; positive is better."""

    before: TaskScore
    after: TaskScore
    value: float
    low: float | None
    high: float | None

    def sentence(self) -> str:
        """The gain with its interval, and what the interval allows to say."""
        task, metric = pages.words(self.after.task), pages.words(self.after.metric)
        values = f"{self.before.value:.3f} to {self.after.value:.3f}"
        text = f"{task} {'gains' if self.value > 0 else 'loses'} {abs(self.value):.3f} {metric} ({values}"
        if not self.value:
            text = f"{task} does not change ({values} {metric}"
        if self.low is None or self.high is None:
            return text + ")"
        chance = ", so it may be chance" if self.value and self.low <= 0 <= self.high else ""
        return f"{text}; 95 % interval of the gain {pages.signed(self.low, 3)} to {pages.signed(self.high, 3)}{chance})"


@dataclass(frozen=True)
class Contest:
    """The student against the same student without its teacher, in nats a token; lower is better."""

    losses: dict[str, tuple[float, float]]
    asked: bool

    def sentence(self) -> str:
        """Who won, either way."""
        if not self.asked:
            return "there is no student in this run"
        if not self.losses:
            return "whether the teacher helped is not known, because the student without its teacher was not measured"
        better = [part for part, (student, control) in self.losses.items() if student < control]
        worse = [part for part, (student, control) in self.losses.items() if student > control]
        pairs = "; ".join(f"{part}: {s:.3f} with, {c:.3f} without" for part, (s, c) in self.losses.items())
        numbers = f"(validation loss on {pairs})"
        if better and worse:
            return f"the teacher helped the student on {better[0]} but not on {worse[0]} {numbers}"
        if not better and not worse:
            return f"the student is exactly as good as the same student without its teacher {numbers}"
        return f"the student is {'better' if better else 'worse'} than the same student without its teacher {numbers}"


def render(title: str, duties: Duties, data: Any, checked: Any, models: Sequence[Model], scores: Sequence[Any], version: Any) -> str:
    """The whole page as HTML that loads nothing; the same artifacts give the same bytes."""
    pairs = zip(models, scores, strict=True)
    entries = [Entry(model, score, store.find(model.id), store.find(score.id), model is models[-1]) for model, score in pairs]
    gains = sorted(_gains(entries), key=lambda gain: -gain.value)
    contest = _contest(entries)
    scored = [(f"{score.stage}:{score.subject}", score) for score in scores]
    calls = [*((made.stage, made) for made in (data, checked, *models)), *scored, (version.stage, version)]
    return pages.templates().get_template("report.html.jinja").render(
        title=title, duties=duties, data=data, checked=checked, version=version, entries=entries, gains=gains, contest=contest,
        sources=sorted({name for entry in entries for name in entry.model.drawn}),
        verdict=_verdict(duties.domain, entries, gains, contest), changes={kind: _change(entries, kind) for kind in KINDS},
        facts=sorted({key for entry in entries for key in entry.packing}, key=lambda fact: ((*PACKING, fact).index(fact), fact)), lost=LOST,
        **feedback.part(models, [entry.measured for entry in entries]), tasks=page_tasks.tasks(entries), accepted=page_evidence.accepted(checked),
        **page_labels.sections(entries), **page_general.sections(entries), **ledger(data), **_drawings(entries, contest), **page_evidence.origin(calls),
    )  # fmt: skip


def _gains(entries: Sequence[Entry]) -> Iterator[Gain]:
    """Tasks that both the base and the shipped model have run.

    The interval follows from the two intervals (Newcombe, 1998, method 10). It treats the two
    models' rows as independent, although they are the same rows: it is wider than it need be.
    """
    if len(entries) < 2:
        return
    first, last = entries[0], entries[-1]
    for after in last.scores.tasks:
        before = first.task(after.task)
        if before is None or before.value is None or after.value is None:
            continue
        # where lower is better, the gain is what the value fell by
        old, new = (before, after) if _higher_is_better(last.scored, after) else (after, before)
        gain, low, high = (new.value or 0) - (old.value or 0), None, None
        if None not in (old.low, old.high, new.low, new.high):
            low = gain - math.hypot((new.value or 0) - (new.low or 0), (old.high or 0) - (old.value or 0))
            high = gain + math.hypot((new.high or 0) - (new.value or 0), (old.value or 0) - (old.low or 0))
        yield Gain(before, after, gain, low, high)


def _higher_is_better(scored: Record | None, score: TaskScore) -> bool:
    """As the domain's task file says; most metrics are."""
    suite = (scored.inputs.get("suite") or {}).get("tasks", {}) if scored else {}
    metrics = [m for task in suite.values() if task.get("task") == score.task for m in task.get("metric_list") or []]
    return all(m.get("higher_is_better", True) for m in metrics if m.get("metric") == score.metric)


def _contest(entries: Sequence[Entry]) -> Contest:
    for entry in entries:
        if entry.model.stage == "distill":
            known = {
                name: (entry.measured.get(f"student_{part}_loss"), entry.measured.get(f"control_{part}_loss"))
                for part, name in PARTS.items()
            }
            return Contest({name: (s, c) for name, (s, c) in known.items() if s is not None and c is not None}, asked=True)
    return Contest({}, asked=False)


def _change(entries: Sequence[Entry], kind: str) -> tuple[float, float] | None:
    """Bits a byte of the base and of the shipped model."""
    values = [getattr(entry.scores, f"{kind}_bits_per_byte") for entry in (entries[0], entries[-1])] if entries else []
    return (values[0], values[1]) if values and None not in values and values[0] else None


def _percent(change: tuple[float, float]) -> str:
    share = 100 * (change[1] / change[0] - 1)
    return f"{abs(share):.1f} % {'more' if share > 0 else 'fewer'}"


def _verdict(domain: str, entries: Sequence[Entry], gains: Sequence[Gain], contest: Contest) -> str:
    """One sentence from the numbers alone, said the same way whether they please or not."""
    name = entries[-1].name if entries else "shipped"
    if entries and entries[-1].scores.not_measured:
        said = page_labels.clauses(domain, entries) or [f"nothing was scored of the {name} model"]
        return "; ".join([said[0][0].upper() + said[0][1:], *said[1:]]) + "."
    text, general = _change(entries, "domain"), _change(entries, "general")
    clauses = [f"Bits per byte of held-out {domain} text were not measured"]
    if text:
        needs = f"{text[1]:.3f} bits per byte, {_percent(text)} than the base's {text[0]:.3f}"
        clauses = [f"On held-out {domain} text the {name} model needs {needs}"]
    if gains:
        improved = sum(gain.value > 0 for gain in gains)
        count = f"{improved} of {len(gains)} task{'s' * (len(gains) != 1)} improved" if improved else "no task improved"
        clauses.append(f"{count}; at best {gains[0].sentence()}")
    else:
        clauses.append("no task was scored on both models")
    clauses.append(contest.sentence())
    if general:
        meaning = "which is forgetting" if general[1] > general[0] else "so nothing general was forgotten by this measure"
        clauses.append(f"general text now costs {_percent(general)} bits per byte ({general[0]:.3f} to {general[1]:.3f}), {meaning}")
    else:
        clauses.append("forgetting was not measured")
    if entries and (told := page_general.General(entries[-1], entries[0])).n:
        clauses.append(f"general tasks, {told.sentence()}")
    return "; ".join(clauses) + "."


def ledger(data: Any) -> dict[str, Any]:
    """The rows by source, their totals, and where each reason's colour lies."""
    reasons: Counter[str] = Counter()
    for line in data.ledger:
        reasons.update(line.set_aside)
    shades = {reason: plots.colour(place) for place, (reason, _) in enumerate(reasons.most_common())}
    bars = [
        plots.Bar(
            f"{line.dataset} · {line.role}{' · synthetic' if line.kind == 'synthetic' else ''}",
            f"{line.rows_used:,} of {line.rows_in:,} used",
            ((line.rows_used, plots.ACCENT), *((line.set_aside[r], shades[r]) for r in shades if r in line.set_aside)),
        )
        for line in by_dataset(data.ledger)
    ]
    totals = {"in": sum(line.rows_in for line in data.ledger), "used": sum(line.rows_used for line in data.ledger)}
    keys = {"used": plots.variable(plots.ACCENT), **{reason: plots.variable(shade) for reason, shade in shades.items()}}
    drawing = plots.stacks(bars, "rows used and set aside, by source") if bars else None
    return {"lines": by_dataset(data.ledger), "reasons": reasons, "totals": totals, "keys": keys, "rows_plot": drawing,
            "introduced": introduced(data.ledger)}  # fmt: skip


def _drawings(entries: Sequence[Entry], contest: Contest) -> dict[str, Any]:
    """The plots over all models."""
    names = [entry.name for entry in entries]
    bits: dict[str, Sequence[float | None]] = {
        kind: [getattr(entry.scores, f"{kind}_bits_per_byte") for entry in entries] for kind in KINDS
    }
    curves = [(f"{entry.name}: loss", plots.curve(points, f"{entry.name}: loss over steps"))
              for entry in entries if (points := entry.points("loss"))]  # fmt: skip
    for entry in entries:
        if points := entry.points("rewards/accuracies"):
            drawing = plots.curve(points, f"{entry.name}: reward accuracy over steps", share=True)
            curves.append((f"{entry.name}: share of pairs in which the chosen answer wins", drawing))
    sizes = [plots.Dot(entry.name, entry.scores.weight_bytes / 1e6, strong=entry.shipped) for entry in entries]
    speeds = [plots.Dot(entry.name, entry.speed, strong=entry.shipped) for entry in entries]
    duels = [(part, plots.dots([plots.Dot("with teacher", s, strong=True), plots.Dot("without", c)], f"validation loss on {part}"))
             for part, (s, c) in contest.losses.items()]  # fmt: skip
    known = any(value is not None for values in bits.values() for value in values)
    return {
        "curves": curves,
        "duels": duels,
        "trade_plot": _trade(entries),
        "attempts": [(entry, number, tried) for entry in entries for number, tried in enumerate(entry.measured.get("forgetting", ()), 1)],
        "bits_plot": plots.lines(names, bits, "bits per byte of each model") if known else None,
        "sizes_plot": plots.bars(sizes, "weights in MB", digits=1),
        "speeds_plot": plots.bars(speeds, "tokens decoded a second, one sequence") if any(dot.value for dot in speeds) else None,
    }


def _trade(entries: Sequence[Entry]) -> Any:
    """What each model gained on the domain's text against what it lost on general text; None where fewer than two are known."""
    bits = [(e.name, e.scores.general_bits_per_byte, e.scores.domain_bits_per_byte) for e in entries]
    known = [(name, general, domain) for name, general, domain in bits if general and domain]
    if len(known) < 2:
        return None
    _, general, domain = known[0]
    points = [(name, 100 * (g / general - 1), 100 * (1 - d / domain)) for name, g, d in known]
    return plots.path(points, "domain gain against general loss", "rise on general text (%)", "fall on domain text (%)")
