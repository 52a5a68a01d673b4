"""Run every benchmark and write docs/benchmarks.md. With `--only`, the sections of the other benchmarks stay."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import progress

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
NOT_A_BENCHMARK = {"measure.py", "run.py"}
INTRODUCTION = """\
# Benchmarks

Written by `make bench`. Everything in a table was measured in one run on one machine, side by side: compare the
ratios; milliseconds differ from machine to machine. Each script in `benchmarks/` says how it measures, and takes
`--help`.

"""


def sections_of(page: Path) -> dict[str, str]:
    """Return the sections of the page as it is now, by benchmark."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    marked = re.split(r"<!-- (\w+)\.py -->\n", text)[1:]
    return {name: section.strip() + "\n" for name, section in zip(marked[::2], marked[1::2], strict=True)}


def main() -> int:
    """Run the benchmarks; exit status 1 if a requirement is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="run only this benchmark; can be repeated")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write; default: docs/benchmarks.md")
    options = parser.parse_args()
    scripts = {path.stem: path for path in sorted(HERE.glob("*.py")) if path.name not in NOT_A_BENCHMARK}
    names = options.only or list(scripts)
    unknown = [name for name in names if name not in scripts]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(scripts)}")
    sections, missed = sections_of(options.output) if options.only else {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            progress(f"== {name}")
            section = Path(folder) / f"{name}.md"
            done = subprocess.run([sys.executable, str(scripts[name]), "--markdown", str(section)], check=False)
            if done.returncode:
                missed.append(name)
            if section.exists():
                sections[name] = section.read_text(encoding="utf-8")
    options.output.parent.mkdir(exist_ok=True)
    marked = [f"<!-- {name}.py -->\n{sections[name]}" for name in scripts if name in sections]
    options.output.write_text(INTRODUCTION + "\n".join(marked), encoding="utf-8")
    progress(f"wrote {options.output}" + (f"; failed or missed a requirement: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
