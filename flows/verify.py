"""`slmforge verify`: is what lies in the store still what was recorded?"""

import json

from tasks.lib import evidence, store, verifying
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.progress import Bar


def verify(name: str | None, version: str | None, as_json: bool) -> bool:
    """Read the files of a version, a domain, an artifact, or of all artifacts again; False when something differs."""
    chosen = _chosen(name, version)
    if not chosen:
        raise ConfigError("artifacts to verify", f"none of {name or 'any domain'} in {store.root()}", "run `slmforge adapt` first")
    bar = Bar("verify", verifying.size(chosen), "B")
    result = verifying.verify(chosen, bar.advance)
    bar.close()
    if as_json:
        print(json.dumps(result.as_json(), indent=1))
        return not result.differences
    from flows import screen

    for made in result.versions:
        asked = made["registry"] if made["registry"] != made["lineage_sha256"] else "the registry has the same"
        print(f"{made['name']} version {made['version']}: lineage sha256 {made['lineage_sha256']} recorded; {asked}")
    for found in result.differences:
        screen.say("differs", "red", f"{found.file}\n  expected: {found.expected}\n  found: {found.found}\n  to do: {found.remedy}")
    count = f"{len(result.differences)} differ" if result.differences else "all as recorded"
    print(f"{result.artifacts:,} artifacts, {result.files:,} files, {screen.size(result.bytes)} read: {count}")
    return not result.differences


def _chosen(name: str | None, version: str | None) -> list[str]:
    """The artifacts that are meant."""
    if version is not None:
        if name is None or "/" in name:
            raise ConfigError(f"version {version} of a domain", f"{name or 'no name'}", "slmforge verify NAME --version N")
        made = evidence.version(name, version)
        try:
            named = evidence.behind_version(made)
        except DataError:
            named = []  # the comparison names what is wrong with the lineage
        return evidence.behind([*named, made.id])
    if name is None:
        return store.identifiers()
    return [evidence.artifact(name).id] if "/" in name else evidence.of_domain(name)
