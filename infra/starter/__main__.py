"""Write the starter data again: `python -m infra.starter [--into FOLDER]`."""

import argparse
from pathlib import Path

from infra.starter import chemistry, common, finance, healthcare

ROOT = Path(__file__).resolve().parents[2]
MAKERS = {"healthcare": healthcare.files, "finance": finance.files, "chemistry": chemistry.files}


def main() -> None:
    """Write the files of every domain."""
    parser = argparse.ArgumentParser(prog="python -m infra.starter", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "domains", help="default: domains/")
    into: Path = parser.parse_args().into
    for domain, make in MAKERS.items():
        common.write(into / domain / "data", make())


if __name__ == "__main__":
    main()
