"""Import what a page imports where only the packages of its install line are there. Run as a script, with the page."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement

from tests.helpers.paths import ROOT
from tests.helpers.recipe_page import RecipePage
from tests.helpers.requirements import closure


class OnlyInstalled(MetaPathFinder):
    """Finds the modules of these distributions, the standard library and this package."""

    def __init__(self, names: Iterable[str]) -> None:
        self._files = {str(file.locate()) for name in names for file in distribution(name).files or ()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse what another distribution has."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.origin and "site-packages" in spec.origin and spec.origin not in self._files:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def imported(page: RecipePage) -> dict[str, str]:
    """Return the modules that the files of a page import, but for these files; each with a name it imports from it."""
    own = {name.removesuffix(".py").partition("/")[0] for name in page.files}
    found = {}
    for text in (text for name, text in page.files.items() if name.endswith(".py")):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name: "" for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found[node.module] = node.names[0].name
    return {module: name for module, name in found.items() if module.partition(".")[0] not in own}


def main() -> None:
    """Import it, or fail with the module that is missing."""
    page = RecipePage(Path(sys.argv[1]))
    sys.meta_path.insert(0, OnlyInstalled(closure(map(Requirement, page.installed))))
    sys.path.insert(0, str(ROOT))
    for module, name in imported(page).items():
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    sys.stdout.write("all imported\n")


if __name__ == "__main__":
    main()
