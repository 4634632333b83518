"""Great Expectations' Data Docs: its own pages, in which nothing can run."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier

# Data Docs show values of failing rows as they are: nothing that stands in a row may run or be fetched when one looks
POLICY = "default-src 'none'; style-src 'unsafe-inline' https:; font-src https: data:; img-src data:"


def keep(context: Any, role: str, result: Any) -> None:
    """Give a role's result to the context, which makes a page of it."""
    run = RunIdentifier(run_time=datetime.now(UTC))
    result.meta |= {"run_id": run, "validation_time": run.run_time, "batch_parameters": None}
    suite = ExpectationSuiteIdentifier(name=role)
    place = ValidationResultIdentifier(batch_identifier=role, expectation_suite_identifier=suite, run_id=run)
    context.validation_results_store.store_validation_results(
        suite_validation_result=result, suite_validation_result_identifier=place, expectation_suite_identifier=suite
    )


def write(context: Any, docs: Path) -> None:
    """Write the pages of every suite and result below `docs`."""
    context.add_data_docs_site(site_name="docs", site_config=_site(docs))
    context.build_data_docs(site_names=["docs"])
    _disarm(docs)


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
