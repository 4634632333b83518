"""How far a dataset is from the snapshot that somebody accepted: rows, lengths, labels and words."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Literal

from pydantic import Field

from tasks.lib.config import Declared, build
from tasks.lib.errors import ConfigError
from tasks.lib.expectations_result import Verdict

FILE = "accepted.json"


class Profile(Declared):
    """What a dataset looks like, without any of its rows."""

    role: str
    rows: int
    lengths: dict[str, list[int]] = Field(description="per field, how many values have 0, 1, 2-3, 4-7, ... characters")
    labels: dict[str, int] = Field(description="answers and how often, where there are few")
    words: dict[str, int] = Field(description="the most frequent words of a sample, and how often")
    hidden: list[str] = Field(default=[], description="sensitive columns, of which no label and no word is here")


class Accepted(Declared):
    """A profile that somebody stands for."""

    by: str
    on: date
    why: str
    edition: Literal["starter", "full"]
    check: str = Field(description="the artifact in which the profile was made")
    profile: Profile


class DriftLimits(Declared):
    """How much may change against the accepted snapshot before it is reported."""

    rows: float = Field(default=0.5, ge=0, description="share by which the number of rows may change")
    lengths: float = Field(default=0.2, ge=0, le=1, description="Jensen-Shannon distance of the lengths' histograms")
    labels: float = Field(default=0.2, ge=0, le=1, description="Jensen-Shannon distance of the answers' shares")
    vocabulary: float = Field(default=0.3, ge=0, le=1, description="Jensen-Shannon distance of the words' shares")
    severity: Literal["critical", "warning"] = Field(default="warning", description="critical stops the pipeline")


def accepted(folder: Path, sensitive: Sequence[str]) -> dict[str, Accepted]:
    """The accepted profiles of a domain folder, by dataset.

    Args:
        folder: the domain's.
        sensitive: columns that the card calls so now.

    Raises:
        ConfigError: if the file is not what `slmforge accept` writes, or holds what the card has since called sensitive.
    """
    file = folder / FILE
    if not file.is_file():
        return {}
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"accepted snapshots from {file}", f"{error}", "restore the file, or run `slmforge accept` again") from error
    if not isinstance(written, dict):
        raise ConfigError(f"accepted snapshots from {file}", "no mapping", "restore the file, or run `slmforge accept` again")
    made = {name: build(Accepted, value, f"the accepted snapshot of {name!r} in {file}") for name, value in written.items()}
    for name, entry in made.items():
        if shown := sorted(set(sensitive) - set(entry.profile.hidden)):
            raise ConfigError(
                f"accepted snapshots in {file} without words of sensitive columns",
                f"that of {name!r} was made before {shown[0]!r} was called sensitive",
                "delete the file, and accept the data again",
            )
    return made


def judge(profiles: Mapping[str, Profile], known: Mapping[str, Accepted], limits: DriftLimits) -> list[Verdict]:
    """One verdict per dataset and measure; one that is new or gone since is told as such. Nothing, where none was accepted."""
    if not known:
        return []
    gone = "a dataset of the accepted snapshot that is no longer there"
    verdicts = [
        _verdict(name, entry.profile.role, "snapshot", None, limits, gone).model_copy(update={"severity": limits.severity})
        for name, entry in known.items()
        if name not in profiles
    ]
    for name, profile in profiles.items():
        if name not in known:
            verdicts.append(_verdict(name, profile.role, "snapshot", None, limits, "a dataset that is not in the accepted snapshot"))
            continue
        old = known[name].profile
        change = abs(profile.rows - old.rows) / max(1, old.rows)
        verdicts.append(_verdict(name, profile.role, "rows", change, limits, f"{old.rows:,} rows accepted, {profile.rows:,} now"))
        for field in sorted({*old.lengths, *profile.lengths}):
            before, now = old.lengths.get(field, []), profile.lengths.get(field, [])
            distance = _distance(_numbered(before), _numbered(now))
            verdicts.append(_verdict(name, profile.role, "lengths", distance, limits, _lengths(field, before, now)))
        if old.hidden != profile.hidden:
            continue  # labels and words of other columns: nothing that could be compared
        if old.labels or profile.labels:
            told = _shares(old.labels, profile.labels)
            verdicts.append(_verdict(name, profile.role, "labels", _distance(old.labels, profile.labels), limits, told))
        if old.words or profile.words:
            new = [word for word in profile.words if word not in old.words]
            told = f"new among the most frequent words: {', '.join(new[:5]) or 'none'}"
            verdicts.append(_verdict(name, profile.role, "vocabulary", _distance(old.words, profile.words), limits, told))
    return verdicts


def _verdict(dataset: str, role: str, measure: str, value: float | None, limits: DriftLimits, told: str) -> Verdict:
    made = Verdict(
        role=role, expectation="drift", kwargs={"dataset": dataset}, severity="warning", passed=False,
        judged=0, failing=0, failing_ids=[], observed=told,
    )  # fmt: skip
    if value is None:
        return made
    limit = getattr(limits, measure)
    return made.model_copy(
        update={
            "expectation": f"drift of {measure}",
            "kwargs": {"dataset": dataset, "at_most": limit},
            "severity": limits.severity,
            "passed": value <= limit,
            "observed": f"{told} ({f'a change of {value:.0%}' if measure == 'rows' else f'distance {value:.3f}'})",
        }
    )


def _numbered(counts: list[int]) -> dict[str, int]:
    return {str(place): count for place, count in enumerate(counts)}


def _lengths(field: str, before: list[int], now: list[int]) -> str:
    """How long the values were and are, as exactly as histograms know it, in characters."""
    if not any(before) or not any(now):
        return f"{field} has no values any more" if any(before) else f"{field} had no values when it was accepted"
    (low, high), (new_low, new_high) = _quantile(before, 0.5), _quantile(now, 0.5)
    median = f"the median length of {field} was {low:,} to {high:,} characters when accepted, and is {new_low:,} to {new_high:,} now"
    return f"{median}; nine in ten had at most {_quantile(before, 0.9)[1]:,}, and have at most {_quantile(now, 0.9)[1]:,} now"


def _quantile(bins: list[int], share: float) -> tuple[int, int]:
    """The least and the greatest length of the bin up to which so large a share of the values lies."""
    place = next(place for place, below in enumerate(accumulate(bins)) if below >= share * sum(bins))
    return (2 ** (place - 1), 2**place - 1) if place else (0, 0)


def _distance(old: Mapping[str, int], new: Mapping[str, int]) -> float:
    """Jensen-Shannon distance (Lin, 1991) of two counts, base 2: 0 for the same shares, 1 for nothing in common."""
    from scipy.spatial.distance import jensenshannon

    if not any(old.values()) or not any(new.values()):
        return float(any(old.values()) != any(new.values()))
    keys = sorted({*old, *new})
    return float(jensenshannon([old.get(key, 0) for key in keys], [new.get(key, 0) for key in keys], base=2))


def _shares(old: Mapping[str, int], new: Mapping[str, int]) -> str:
    """The label whose share changed most."""
    if not old or not new:
        return f"the answers {'are no longer few' if old else 'have become few'}: they were labels {'before' if old else 'not before'}"
    before, now = sum(old.values()) or 1, sum(new.values()) or 1
    moved = max(sorted({*old, *new}), key=lambda key: abs(new.get(key, 0) / now - old.get(key, 0) / before))
    return f"the share of {moved[:40]!r} went from {old.get(moved, 0) / before:.0%} to {new.get(moved, 0) / now:.0%}"
