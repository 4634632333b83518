"""Expectations on records, judged by Great Expectations (its only importer)."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import great_expectations as gx
import pandas as pd
from great_expectations.checkpoint import UpdateDataDocsAction
from great_expectations.exceptions import ExpectationNotFoundError
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.registry import get_expectation_impl, list_registered_expectation_implementations

from tasks.lib.errors import ConfigError
from tasks.lib.expectations_result import Verdict
from tasks.lib.records import CONTENT, ROLES, iterate

KEPT_IDS = 20  # failing rows named per expectation
# Data Docs show values of failing rows as they are: nothing that stands in a row may run or be fetched when one looks
POLICY = "default-src 'none'; style-src 'unsafe-inline' https:; font-src https: data:; img-src data:"
FLAT = ("id", "dataset", "file", "row", "group", "rating", "winner")


def flatten(folder: Path, role: str) -> pd.DataFrame:
    """Records of one role as a table: identity columns, content columns, and `<column>_chars`."""
    rows = []
    for row in iterate(folder, role):
        flat = {key: row[key] for key in FLAT if key in row}
        for name in CONTENT:
            if name in row:
                flat[name] = row[name] or None
                flat[f"{name}_chars"] = len(row[name])
        rows.append(flat)
    return pd.DataFrame(rows)


def judge(folder: Path, suites: dict[str, list[dict[str, dict[str, Any]]]], sensitive: list[str], docs: Path | None) -> list[Verdict]:
    """Judge every role's records by its suite, and write Data Docs below `docs`.

    Args:
        folder: a records artifact's folder.
        suites: per role, expectations as {name: arguments}.
        sensitive: columns whose values must appear in no result and no page.
        docs: where GX's Data Docs go, or None for no pages.

    Raises:
        ConfigError: for an expectation or an argument that Great Expectations does not know.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    actions = []
    if docs is not None:
        context.add_data_docs_site(site_name="docs", site_config=_site(docs))
        actions = [UpdateDataDocsAction(name="docs", site_names=["docs"])]
    source = context.data_sources.add_pandas("records")
    verdicts: list[Verdict] = []
    for role in ROLES:
        table = flatten(folder, role)
        if not suites.get(role):
            continue
        if table.empty:
            verdicts.append(_nothing_to_judge(role))
            continue
        batch = source.add_dataframe_asset(role).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(name=role))
        for entry in suites[role]:
            for name, arguments in entry.items():
                suite.add_expectation(_expectation(role, name, arguments, sensitive))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=role, data=batch, suite=suite))
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(
                name=role,
                validation_definitions=[definition],
                actions=actions,
                result_format=_result_format(table, sensitive),
            )
        )
        result = checkpoint.run(batch_parameters={"dataframe": table})
        for run in result.run_results.values():
            verdicts += [_verdict(role, found, sensitive) for found in run.results]
    if docs is not None and docs.is_dir():  # without anything to judge there are no pages
        _disarm(docs)
    return verdicts


def _disarm(docs: Path) -> None:
    """Give every page a content security policy, and an index that needs no script and no network."""
    tag = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    links = []
    for page in sorted(docs.rglob("*.html")):
        text = page.read_text(encoding="utf-8")
        head = re.search(r"<head[^>]*>", text)
        page.write_text(tag + text if head is None else text[: head.end()] + tag + text[head.end() :], encoding="utf-8")
        kind = {"validations": "results", "expectations": "suite"}.get(page.relative_to(docs).parts[0])
        if kind:
            role = page.stem if kind == "suite" else page.relative_to(docs).parts[1]
            links.append(f'<li><a href="{quote(page.relative_to(docs).as_posix())}">{role}: {kind}</a></li>')
    title = "Great Expectations: Data Docs"
    index = f'<!doctype html><html lang="en"><head><meta charset="utf-8">{tag}<title>{title}</title></head>'
    (docs / "index.html").write_text(f"{index}<body><h1>{title}</h1><ul>{''.join(links)}</ul></body></html>", encoding="utf-8")


def _site(docs: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }


def _result_format(table: pd.DataFrame, sensitive: list[str]) -> dict[str, Any]:
    """Failing rows by id; values too only where no column of the table is sensitive."""
    return {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": ["id"],
        "return_unexpected_index_query": False,
        "exclude_unexpected_values": bool(set(sensitive) & set(table.columns)),
    }


def _nothing_to_judge(role: str) -> Verdict:
    """Expectations of a role that has no rows are not kept silent about."""
    return Verdict(
        role=role, expectation="every expectation of this role", kwargs={}, severity="warning", passed=False,
        judged=0, failing=0, failing_ids=[], observed="no rows with this role",
    )  # fmt: skip


def _expectation(role: str, name: str, arguments: dict[str, Any], sensitive: list[str]) -> Any:
    asked = f"expectation {name} for role {role}"
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
        known = [n for n in list_registered_expectation_implementations() if n.split("_")[-1] == name.rsplit("_", maxsplit=1)[-1]]
        raise ConfigError(asked, "Great Expectations has no such expectation", f"for instance: {', '.join(known[:5])}") from error
    except ValueError as error:  # pydantic's ValidationError is one
        raise ConfigError(asked, "; ".join(str(error).split("\n")[1:]), "see the arguments in GX's gallery") from error


def _verdict(role: str, found: Any, sensitive: list[str]) -> Verdict:
    info = found.exception_info or {}
    raised = [part for part in (info, *info.values()) if isinstance(part, dict) and part.get("raised_exception")]
    if raised:
        raise ConfigError(
            f"expectation {found.expectation_config.type} for role {role}",
            str(raised[0].get("exception_message")).splitlines()[0],
            "correct its arguments in expectations.yaml",
        )
    result = found.result
    ids = [str(entry["id"][0] if isinstance(entry["id"], list) else entry["id"]) for entry in result.get("unexpected_index_list") or []]
    kwargs = {k: v for k, v in found.expectation_config.kwargs.items() if k != "batch_id"}
    hide = kwargs.get("column") in sensitive
    return Verdict(
        role=role,
        expectation=found.expectation_config.type,
        kwargs=kwargs,
        severity=str(getattr(found.expectation_config.severity, "value", found.expectation_config.severity)),
        passed=bool(found.success),
        judged=int(result.get("element_count") or 0),
        failing=int(result.get("unexpected_count") or 0),
        failing_ids=ids[:KEPT_IDS],
        observed="" if hide or "observed_value" not in result else str(result["observed_value"])[:200],
    )
