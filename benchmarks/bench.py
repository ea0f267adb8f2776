"""The course beside what one could use instead: ``make bench``, or ``make bench BENCH=step`` for one of them.

Each benchmark is a script of this folder that runs in a process of its own, on one thread, and writes
benchmarks/results/NAME.json, which the book draws. Times are processor time; still, the less else runs, the better.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("step", "neural_ode", "reversible_block", "implicit_torchdeq", "trainer", "growth", "fits")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--list", action="store_true", help="say what each measures, and end")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in NAMES]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    names, failed = options.names or NAMES, []
    for name in names:
        about = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text("utf-8"))).splitlines()[0]
        print(f"{name}: {about}", flush=True)
        if options.list:
            continue
        start = time.monotonic()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        status = subprocess.run([sys.executable, str(HERE / f"{name}.py")], env=environment).returncode
        print(f"{name}: {'done' if status == 0 else 'FAILED'} in {time.monotonic() - start:.0f} s\n", flush=True)
        failed += [name] * (status != 0)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
