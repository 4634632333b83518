"""Expectations on records, judged by Great Expectations in batches (imported here, in its pages and in pack_expectations)."""

import difflib
import gc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.compatibility import pydantic
from great_expectations.exceptions import ExpectationNotFoundError
from great_expectations.execution_engine import pandas_execution_engine
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
)
from great_expectations.expectations.registry import get_expectation_impl, list_registered_expectation_implementations
from great_expectations.validator.v1_validator import Validator

from tasks.lib import (
    data_docs,
    pack_expectations,  # noqa: F401  # registers the packs' expectations
    progress,
)
from tasks.lib.batch_results import KEPT, Results, merge, suite_result, trimmed
from tasks.lib.environment import muted
from tasks.lib.errors import ConfigError, StageError
from tasks.lib.expectations_result import SEVERITIES, Verdict
from tasks.lib.frames import Frames
from tasks.lib.parts import MANY, MEMORY, WorkerDiedError, afforded, in_order
from tasks.lib.records import ROLES, withheld

# a fingerprint of every batch, in its markers, costs as much as a check, and nobody looks at it
pandas_execution_engine.HASH_THRESHOLD = 0
BY_ROW = (ColumnMapExpectation, ColumnPairMapExpectation, MulticolumnMapExpectation)
# judged row by row in GX's words, but a row's verdict depends on the others
NOT_BY_ROW = (
    "expect_column_values_to_be_unique", "expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing",
    "expect_column_value_z_scores_to_be_less_than", "expect_column_values_to_not_be_outliers", "expect_compound_columns_to_be_unique",
    "expect_column_values_to_be_of_type", "expect_column_values_to_be_in_type_list",
)  # fmt: skip
NEAR = 3  # names that are proposed for one that is none
# arguments that GX gives every expectation, and that are not for a domain
OF_GX = ("id", "meta", "notes", "result_format", "catch_exceptions", "rendered_content", "windows", "batch_id", "description")
Suites = dict[str, list[dict[str, dict[str, Any]]]]


def judge(folder: Path, suites: Suites, sensitive: list[str], docs: Path | None, workers: int | None = None) -> list[Verdict]:
    """Judge every role's records by its suite, and write Data Docs below `docs`.

    Expectations on single rows are judged in batches, those of many files in processes, and memory does not grow with the
    rows; one on a whole column (a mean, values that are unique) holds the columns that it names.

    Args:
        folder: a records artifact's folder.
        suites: per role, expectations as {name: arguments}.
        sensitive: columns whose values must appear in no result and no page.
        docs: where GX's Data Docs go, or None for no pages.
        workers: processes that judge rows of many files; None for one per core, as far as memory is not to exceed 2 GB.

    Raises:
        ConfigError: for an expectation or an argument that Great Expectations does not know.
    """
    context, sensitive = _context(), sorted(withheld(sensitive))
    verdicts: list[Verdict] = []
    kept = False
    for role in ROLES:
        if not suites.get(role):
            continue
        frames = Frames(folder, role)
        if not frames.rows:
            verdicts.append(_nothing_to_judge(role))
            continue
        suite = _suite(context, role, suites[role], sensitive)
        judging = _Judging(context, role, frames, sensitive)
        if frames.shards < MANY:
            by_row = iter([judging.by_row(suite)])
        else:
            jobs = [(folder, role, suites[role], sensitive, shard) for shard in range(frames.shards)]
            judging_each = in_order(_judge_shard, jobs, workers or afforded("check"), elsewhere=False)
            by_row = progress.rows(judging_each, f"check {role}", len(jobs), " files")
        try:
            result = judging.judge(suite, by_row)
        except WorkerDiedError as error:
            raise _died(role) from error
        judged = [_verdict(role, found, sensitive) for found in result.results]
        places = frames.places({identifier for verdict in judged for identifier in verdict.failing_ids})
        verdicts += [v.model_copy(update={"failing_at": [places[one] for one in v.failing_ids if one in places]}) for v in judged]
        if docs is not None:
            data_docs.keep(context, role, result)
            kept = True
    if docs is not None and kept:  # without anything to judge there are no pages
        data_docs.write(context, docs)
    return verdicts


def _died(role: str) -> StageError:
    found = f"a process that judged them crashed, was killed, or found no more than {MEMORY / 1e9:.0f} GB of memory"
    return StageError(
        f"the expectations on rows of role {role!r}, judged",
        found,
        "set `check.workers: 1`, or run the command again where there is memory",
    )


def _context() -> Any:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


def _suite(context: Any, role: str, entries: Sequence[dict[str, dict[str, Any]]], sensitive: list[str]) -> Any:
    suite = context.suites.add(gx.ExpectationSuite(name=role))
    for entry in entries:
        for name, arguments in entry.items():
            suite.add_expectation(_expectation(role, name, arguments, sensitive))
    return suite


def _judge_shard(folder: Path, role: str, entries: list[dict[str, dict[str, Any]]], sensitive: list[str], shard: int) -> Results:
    """What expectations on single rows say of one file; in a process of its own."""
    with muted():
        context = _context()
        suite = _suite(context, role, entries, sensitive)
        found = _Judging(context, role, Frames(folder, role), sensitive).by_row(suite, shard)
    del context, suite
    gc.collect()  # GX's objects point at each other, and at the last table
    return found


class _Judging:
    """One role's suite on one role's rows."""

    def __init__(self, context: Any, role: str, frames: Frames, sensitive: list[str]) -> None:
        self._role, self._frames, self._context = role, frames, context
        self._shown = not set(sensitive) & set(frames.columns)
        asset = context.data_sources.add_pandas(role).add_dataframe_asset(role)
        self._definition = asset.add_batch_definition_whole_dataframe("all")

    def by_row(self, suite: Any, shard: int | None = None) -> Results:
        """What expectations on single rows say of all rows, or of those in one file."""
        expectations = [expectation for expectation in _each(suite) if _is_by_row(expectation)]
        batches = self._frames.batches(self._columns(expectations), shard) if expectations else []
        merged: Results = {}
        with progress.Bar(f"check {self._role}", self._frames.rows, " rows") as bar:
            for table in batches:
                for found in self._validate(table, expectations).results:
                    _raise_what_it_raised(self._role, found)
                    merge(merged, {_key(found.expectation_config): trimmed(found)})
                bar.advance(len(table))
        return merged

    def judge(self, suite: Any, by_row: Iterable[Results]) -> Any:
        """The suite's result over all rows, as GX gives it for a single batch."""
        merged: Results = {}
        for found in by_row:
            merge(merged, found)
        over_columns = [expectation for expectation in _each(suite) if not _is_by_row(expectation)]
        for expectation in progress.rows(over_columns, f"check columns of {self._role}", len(over_columns), " expectations"):
            map_like = isinstance(expectation, BY_ROW)
            table = self._frames.whole([*self._columns([expectation]), *(["id"] if map_like else [])])
            (found,) = self._validate(table, [expectation]).results
            _raise_what_it_raised(self._role, found)
            merged[_key(found.expectation_config)] = trimmed(found)
        return suite_result(suite.name, [merged[_key(expectation.configuration)] for expectation in suite.expectations])

    def _validate(self, table: Any, expectations: Iterable[Any]) -> Any:
        """One table's result; failing rows by id, values only where no column of the role is sensitive."""
        keyed = {"unexpected_index_column_names": ["id"]} if "id" in table else {}
        form = {
            "result_format": "COMPLETE",
            "return_unexpected_index_query": False,
            "exclude_unexpected_values": not self._shown,
            **keyed,
        }
        suite = gx.ExpectationSuite(name=self._role, expectations=[e.copy(update={"id": None}) for e in expectations])
        return Validator(self._definition, form, {"dataframe": table}).validate_expectation_suite(suite)

    def _columns(self, expectations: Sequence[Any]) -> list[str]:
        """The columns that expectations read: those whose names stand in their arguments."""
        told = [str({k: v for k, v in e.configuration.kwargs.items() if v is not None}) for e in expectations]
        if any(e.configuration.type.startswith("expect_table_column") for e in expectations):
            return self._frames.columns
        named = [name for name in self._frames.columns if any(name in text for text in told)]
        return [*named, *(["id"] if all(map(_is_by_row, expectations)) else [])]


def _each(suite: Any) -> list[Any]:
    return list({_key(expectation.configuration): expectation for expectation in suite.expectations}.values())


def _key(configuration: Any) -> str:
    """What tells expectations of one suite apart; those that are the same have the same result."""
    kwargs = {key: value for key, value in configuration.kwargs.items() if key != "batch_id"}
    return f"{configuration.type}({sorted(kwargs.items())}), {configuration.severity}"


def _is_by_row(expectation: Any) -> bool:
    return isinstance(expectation, BY_ROW) and expectation.expectation_type not in NOT_BY_ROW


def _nothing_to_judge(role: str) -> Verdict:
    """Expectations of a role that has no rows are not kept silent about."""
    return Verdict(
        role=role, expectation="every expectation of this role", kwargs={}, severity="warning", passed=False,
        judged=0, failing=0, failing_ids=[], observed="no rows with this role",
    )  # fmt: skip


def _expectation(role: str, name: str, arguments: dict[str, Any], sensitive: list[str]) -> Any:
    asked = f"expectation {name} for role {role}"
    severity = arguments.get("severity", SEVERITIES[0])
    if severity not in SEVERITIES:
        raise ConfigError(asked, f"severity {severity!r}", f"write {', '.join(SEVERITIES[:-1])} or {SEVERITIES[-1]}")
    try:
        kind = get_expectation_impl(name)
        if arguments.get("column") in sensitive and not issubclass(kind, ColumnMapExpectation):
            raise ConfigError(
                asked,
                f"it would show values of the sensitive column {arguments['column']!r}",
                "use an expectation that judges row by row, or one on the column's _chars",
            )
        return kind(**arguments)
    except ExpectationNotFoundError as error:
        found = "neither Great Expectations nor a pack has an expectation of this name"
        raise ConfigError(asked, found, _near(name)) from error
    except pydantic.ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        taken = [field for field in kind.__fields__ if field not in OF_GX]
        raise ConfigError(asked, found, f"its arguments are {', '.join(taken)}") from error


def faults(question: dict[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with expectations, as far as it can be told without data: (found, remedy) of each; asked through `examine`.

    Args:
        question: `suites` by role, the `sensitive` columns, and the `columns` that rows of each role may have.
    """
    made = []
    for role, entries in question["suites"].items():
        for name, arguments in ((name, arguments) for entry in entries for name, arguments in entry.items()):
            try:
                _expectation(role, name, arguments, question["sensitive"])
                _require_columns(role, name, arguments, question["columns"][role])
            except ConfigError as error:
                made.append((f"{error.asked}: {error.found}", error.remedy))
    return made


def _require_columns(role: str, name: str, arguments: dict[str, Any], columns: list[str]) -> None:
    """Refuse a column that no row of this role has, whatever the data are."""
    given = [arguments.get(key) for key in ("column", "column_A", "column_B")] + list(arguments.get("column_list") or [])
    for column in given:
        if column is not None and column not in columns:
            near = difflib.get_close_matches(str(column), columns, 1)
            remedy = f"did you mean {near[0]!r}?" if near else f"columns of role {role} are {', '.join(columns)}"
            raise ConfigError(f"expectation {name} for role {role}", f'no row has a column "{column}"', remedy)


def _near(name: str) -> str:
    """The nearest names, of Great Expectations and of the packs; a pack's table gives only how they end."""
    known = sorted(list_registered_expectation_implementations())
    near = [one for one in known if name in one] or difflib.get_close_matches(name, known, NEAR)
    return f"did you mean {' or '.join(near[:NEAR])}?" if near else "take a name of Great Expectations, or of a pack (domains/README.md)"


def _raise_what_it_raised(role: str, found: Any) -> None:
    info = found.exception_info or {}
    raised = [part for part in (info, *info.values()) if isinstance(part, dict) and part.get("raised_exception")]
    if raised:
        raise ConfigError(
            f"expectation {found.expectation_config.type} for role {role}",
            str(raised[0].get("exception_message")).splitlines()[0],
            "correct its arguments in expectations.yaml",
        )


def _verdict(role: str, found: Any, sensitive: list[str]) -> Verdict:
    result = found.result
    ids = [str(entry["id"]) for entry in result.get("unexpected_index_list") or []]
    kwargs = {k: v for k, v in found.expectation_config.kwargs.items() if k != "batch_id"}
    hide = kwargs.get("column") in sensitive
    return Verdict(
        role=role,
        expectation=found.expectation_config.type,
        kwargs=kwargs,
        severity=str(getattr(found.expectation_config.severity, "value", found.expectation_config.severity)),
        passed=bool(found.success),
        judged=int(result.get("element_count") or 0) - int(result.get("missing_count") or 0),  # an empty cell is not judged
        failing=int(result.get("unexpected_count") or 0),
        failing_ids=ids[:KEPT],
        observed="" if hide or "observed_value" not in result else str(result["observed_value"])[:200],
    )
