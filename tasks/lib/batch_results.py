"""Great Expectations' results of many batches as one."""

from typing import Any

import great_expectations as gx
from great_expectations.core import ExpectationSuiteValidationResult

KEPT = 20  # failing rows named, and values shown, per expectation
SUMS = ("element_count", "unexpected_count", "missing_count")
LISTS = ("partial_unexpected_list", "unexpected_index_list", "partial_unexpected_index_list")
Results = dict[str, Any]  # GX's result of each expectation, by what tells it apart


def trimmed(found: Any) -> Any:
    """A result that keeps the first failing rows, of however many."""
    listed = found.result.get("unexpected_index_list") or []
    if listed and isinstance(listed[0]["id"], list):  # without values, one entry lists all the ids
        found.result["unexpected_index_list"] = [{"id": one} for one in listed[0]["id"][:KEPT]]
    for key in LISTS:
        if found.result.get(key):
            found.result[key] = found.result[key][:KEPT]
    found.result.pop("unexpected_list", None)
    return found


def _added(first: Any, found: Any) -> Any:
    """Two batches' results of one expectation as one: counts added up, shares and the verdict by them."""
    result, more = first.result, found.result
    for key in (key for key in SUMS if key in result):
        result[key] += more.get(key) or 0
    for key in (key for key in LISTS if key in result or key in more):
        result[key] = [*(result.get(key) or []), *(more.get(key) or [])][:KEPT]
    rows, failing = result["element_count"], result["unexpected_count"]
    judged = rows - result.get("missing_count", 0)
    result["unexpected_percent"] = 100 * failing / judged if judged else None
    if "missing_count" in result:
        result |= {
            "missing_percent": 100 * result["missing_count"] / rows if rows else None,
            "unexpected_percent_total": 100 * failing / rows if rows else None,
            "unexpected_percent_nonmissing": result["unexpected_percent"],
        }
    values: dict[str, Any] = {}
    for entry in (*result.get("partial_unexpected_counts", []), *more.get("partial_unexpected_counts", [])):
        if "value" in entry:
            seen = values.setdefault(repr(entry["value"]), {**entry, "count": 0})
            seen["count"] += entry["count"]
    if values:
        result["partial_unexpected_counts"] = sorted(values.values(), key=lambda entry: -entry["count"])[:KEPT]
    mostly = first.expectation_config.kwargs.get("mostly", 1.0)
    first.success = not judged or (judged - failing) / judged >= mostly  # as GX has it
    return first


def merge(merged: Results, further: Results) -> None:
    """Add the results of further rows to those of the rows before."""
    for key, found in further.items():
        merged[key] = _added(merged[key], found) if key in merged else found


def suite_result(name: str, results: list[Any]) -> ExpectationSuiteValidationResult:
    """The results of all expectations of a suite, in their order."""
    passed = sum(bool(found.success) for found in results)
    share = 100 * passed / len(results)
    return ExpectationSuiteValidationResult(
        results=results,
        success=passed == len(results),
        suite_name=name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": share,
        },
        meta={"great_expectations_version": gx.__version__},
    )
