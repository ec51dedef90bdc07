"""Measure everything, print the table, and on request write it into README.md.

python -m benchmarks              prints the table; the engine at a million rows takes longest, and up to 10 GB
python -m benchmarks --write      also writes it into benchmarks/README.md and results.json
python -m benchmarks --quick      smaller sizes, for a look
python -m benchmarks --only methods   one part: pairs, search, rankings, sets, tools, waits, engine, protocols,
                                  methods, evaluators or maps
python -m benchmarks --only engine --rows 10000     the engine at other sizes; so --images for the protocols
python -m benchmarks --threads 2  for NumPy, torch and FAISS alike; 1 unless said
"""

import argparse
import os
import subprocess
import sys

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main() -> None:
    """Start afresh with the number of threads asked for, which libraries read when they are loaded."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, for a look")
    parser.add_argument("--write", action="store_true", help="write into README.md and results.json")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library (default 1)")
    parser.add_argument(
        "--only",
        default="",
        help="only the parts whose name holds this: "
        "pairs, search, rankings, sets, tools, waits, engine, protocols, methods, evaluators, maps",
    )
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[], help="sizes at which the engine is measured"
    )
    parser.add_argument("--images", type=int, nargs="+", default=[], help="sizes at which protocols are")
    asked = parser.parse_args()
    alone = ("waits", "engine", "protocols", "methods", "evaluators", "maps")
    if asked.write and asked.only and asked.only not in alone:
        parser.error(f"--write writes the whole table, or one of {', '.join(alone)}; leave out --only")
    if os.environ.get("DMLVIZ_BENCHMARK") != "1":
        threads = dict.fromkeys(_THREADS, str(asked.threads))
        environment = {**os.environ, **threads, "DMLVIZ_BENCHMARK": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *sys.argv[1:]], env=environment, check=False
        )
        sys.exit(done.returncode)
    from benchmarks.everything import measure

    measure(quick=asked.quick, into_readme=asked.write, only=asked.only, rows=asked.rows, images=asked.images)


if __name__ == "__main__":
    main()
