"""What each stage of a domain was last made from, so that `why` can name the field that changed."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.lib import places, store
from tasks.lib.stage import Call
from tasks.lib.store import Record

MAX_CHANGES, MAX_CHARS = 3, 100  # fields that a cause names, and characters of each

CHANGED = "content changed"


def _place(domain: str) -> Path:
    return places.runs() / "domains" / f"{domain or '_'}.json"


def read(domain: str) -> dict[str, Any]:
    """Per call name: the artifact's id, its identity, and why it was made."""
    try:
        found: dict[str, Any] = json.loads(_place(domain).read_text())
    except FileNotFoundError:
        return {}
    return found


@contextmanager
def _held(domain: str) -> Iterator[dict[str, Any]]:
    place = _place(domain)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        known = read(domain)
        before = json.dumps(known, sort_keys=True)
        yield known
        after = json.dumps(known, sort_keys=True, indent=1)
        if json.dumps(known, sort_keys=True) != before:
            temporary = place.with_suffix(f".{os.getpid()}")
            temporary.write_text(after)
            temporary.replace(place)


def remember(domain: str, call: Call, record: Record, cause: str) -> None:
    """Note what a call now stands on; a cached one keeps the cause that made it."""
    with _held(domain) as known:
        old = known.get(call.name)
        if old is not None and old["id"] == record.id and not cause:
            return
        known[call.name] = {
            "id": record.id,
            "identity": record.identity,
            "cause": cause or "the store already held this result",
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def cause(domain: str, call: Call) -> str:
    """Why `call` has to run: the fields in which it differs from the last time."""
    old = read(domain).get(call.name)
    if old is None:
        return "it has not run before in this domain"
    # changed contents first: where a file is another one, its size and its rows say little more; then what has another
    # value, such as the kind of a method, before the fields that come and go with it
    changes = sorted(differences(old["identity"], call.identity()), key=lambda change: (not change.endswith(CHANGED), " -> " not in change))
    if not changes:
        gone = old["id"] == call.identifier() and store.find(old["id"]) is None
        return "its artifact is gone from the store" if gone else "an earlier result of the same identity was replaced"
    more = f" and {len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
    return "; ".join(changes[:MAX_CHANGES]) + more


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """The leaves in which two identities differ, as `config.beta: 0.1 -> 0.2`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{where}.{key}" if where else str(key)
            if key not in old:
                yield f"{inner} is new ({_short(new[key], MAX_CHARS - len(inner) - 10)})"
            elif key not in new:
                yield f"{inner} is gone (was {_short(old[key], MAX_CHARS - len(inner) - 15)})"
            else:
                yield from differences(old[key], new[key], inner)
    elif isinstance(old, list) and isinstance(new, list) and (named := _by_name(old, new)):
        yield from differences(*named, where)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for position, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{where}[{position}]")
    elif old != new:
        kind = CHANGED if where.startswith("inputs.") and _is_digest(new) else None
        room = (MAX_CHARS - len(where) - 6) // 2
        yield f"{where}: {kind}" if kind else f"{where}: {_short(old, room)} -> {_short(new, room)}"


def _by_name(old: list[Any], new: list[Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Lists of datasets, keyed by name, so that one more does not shift the rest."""
    both = [*old, *new]
    if not both or not all(isinstance(item, dict) and isinstance(item.get("dataset"), dict) for item in both):
        return None
    return {i["dataset"]["name"]: i for i in old}, {i["dataset"]["name"]: i for i in new}


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value)


def _short(value: Any, room: int) -> str:
    """A value in so many characters: in full, or how many entries it has, or its beginning."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= max(room, 12):
        return text
    if isinstance(value, (list, dict)):
        return "1 entry" if len(value) == 1 else f"{len(value):,} entries"
    return text[: max(room, 12) - 3] + "..."
