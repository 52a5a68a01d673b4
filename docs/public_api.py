"""The pages of docs/reference about the public API: signatures, docstrings and fields, read from the source.

Nothing is imported, so that a page is the same whatever is installed. `make docs` writes them.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The public modules, and what their pages begin with.
MODULES = {
    "pytest_langfuse": "The types of the fixtures, what they return, and the errors that a test may catch. [Fixtures]"
    "(fixtures.md) hand these objects out; a test builds few of them itself.",
    "pytest_langfuse.recording": "Spans and export bodies, read as Langfuse reads them, without a test.",
    "pytest_langfuse.tracing": "Production tracing: [the guide](../tracing.md), [all settings](../settings.md).",
    "pytest_langfuse.outage.server": "The stand-in Langfuse on a real socket, for other programs than tests: "
    "[the guide](../stand-in.md).",
}
#: Names of their pages.
PAGES = {module: f"{module.rpartition('.')[2].replace('server', 'outage-server')}.md" for module in MODULES}
_WIDTH = 100
_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Defined:
    """A class or function, and the module that defines it."""

    name: str
    module: str
    node: Definition


# -- the source --------------------------------------------------------------------------------------------------------


@cache
def _source(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path.read_text(encoding="utf-8")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_source(module))


@cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """Names that a module imports from this package, with their module and their name there."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_langfuse")
        for alias in node.names
        if node.module
    }


def exported(module: str) -> list[str]:
    """The names in `__all__` of a module."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return sorted(names)
    raise LookupError(f"{module} has no __all__")


def find(module: str, name: str) -> Defined:
    """The definition of a name, wherever a module has it from.

    Raises:
        LookupError: it is not a class or a function of this package.
    """
    for node in ast.walk(_tree(module)):
        if isinstance(node, Definition) and node.name == name:
            return Defined(name, module, node)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            # An alias of a generic class: `LangfuseServer = langfuse_server.LangfuseServer[Observations]`.
            package, _, target = ast.unparse(node.value).partition("[")[0].rpartition(".")
            if package in _imports(module):
                return find(".".join(_imports(module)[package]), target)
    if name in _imports(module):
        return find(*_imports(module)[name])
    raise LookupError(f"{module}.{name}")


def _bases(of: Defined) -> Iterator[Defined]:
    """The class and its bases in this package."""
    yield of
    assert isinstance(of.node, ast.ClassDef)  # noqa: S101 - only classes are asked
    for base in of.node.bases:
        try:
            found = find(of.module, ast.unparse(base).partition("[")[0])
        except LookupError:
            continue
        yield from _bases(found)


@cache
def _public() -> frozenset[str]:
    return frozenset(name for module in MODULES for name in exported(module))


# -- a page ------------------------------------------------------------------------------------------------------------


def page(module: str) -> str:
    """The page of a public module."""
    parts = [f"# {module}", MODULES[module]]
    for name in exported(module):
        defined = find(module, name)
        home = next(other for other in MODULES if name in exported(other) and find(other, name) == defined)
        if home != module:
            parts += [f"## {name}", f"See [`{home}.{name}`]({PAGES[home]}#{name.lower()})."]
        elif isinstance(defined.node, ast.ClassDef):
            parts += _class(defined)
        else:
            parts += [f"## {name}", *_described(defined.node)]
    return "\n\n".join(parts) + "\n"


def _class(defined: Defined) -> list[str]:
    node = defined.node
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - the caller looked
    parts = [f"## {node.name}"]
    if constructor := _constructor(defined):
        parts.append(_code(constructor))
    errors = [base for base in map(ast.unparse, node.bases) if base.endswith(("Error", "Exception"))]
    if errors:
        parts.append(f"An error: {', '.join(f'`{base}`' for base in errors)}.")
    parts += _docstring(node)
    if rows := list(_fields(defined)):
        parts.append("\n".join(["| field | type | default | |", "|---|---|---|---|", *rows]))
    seen = set()
    for base in _bases(defined):
        for method in _methods(base):
            if method.name not in seen:
                seen.add(method.name)
                parts += [f"### {node.name}.{method.name}", *_described(method)]
    return parts


def _methods(of: Defined) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    assert isinstance(of.node, ast.ClassDef)  # noqa: S101 - only classes are asked
    for node in ast.walk(of.node):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            is_own = node in of.node.body
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if (
                is_own
                and ast.get_docstring(node)
                and not any(it.endswith((".setter", "overload")) for it in decorators)
            ):
                yield node


def _constructor(of: Defined) -> str:
    """The call that builds it; nothing where that takes what is not public, as only the package has it."""
    node = of.node
    assert isinstance(node, ast.ClassDef)  # noqa: S101 - only classes are asked
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            private = set(_imports(of.module)) - _public()
            annotations = [argument.annotation for argument in _arguments(child.args) if argument.annotation]
            words = {word for annotation in annotations for word in re.findall(r"\w+", ast.unparse(annotation))}
            return "" if words & private else _signature(node.name, child, returns=False)
    return ""


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [one for one in (arguments.vararg, arguments.kwarg) if one]


def _fields(of: Defined) -> Iterator[str]:
    """Rows of a table: fields of a dataclass or a named tuple, and attributes that have a comment."""
    assert isinstance(of.node, ast.ClassDef)  # noqa: S101 - only classes are asked
    lines = _source(of.module).splitlines()
    decorators = " ".join(map(ast.unparse, of.node.decorator_list))
    is_data = "dataclass" in decorators or any(ast.unparse(base) == "NamedTuple" for base in of.node.bases)
    comment, described = "", _attributes(of.node)
    for node in of.node.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            yield from _attributes_set(node, lines)
        if not (is_data and isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        name = node.target.id
        value = ast.unparse(node.value) if node.value else ""
        if name.startswith("_") or "init=False" in value or ast.unparse(node.annotation).startswith("ClassVar"):
            continue
        # A comment holds for all fields up to the next blank line or comment.
        before = lines[node.lineno - 2].strip()
        comment = _comment(lines, node.lineno) or (comment if re.match(r"\w+: ", before) else "")
        yield _row(name, ast.unparse(node.annotation), _default(value), described.get(name, comment))


def _attributes_set(constructor: ast.FunctionDef, lines: list[str]) -> Iterator[str]:
    """Rows of the public attributes that a constructor sets and comments on."""
    kinds = {it.arg: it.annotation for it in _arguments(constructor.args)}
    for node in constructor.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if not isinstance(target, ast.Attribute) or target.attr.startswith("_"):
            continue
        kind = node.annotation if isinstance(node, ast.AnnAssign) else kinds.get(target.attr)
        if said := _comment(lines, node.lineno):
            yield _row(target.attr, ast.unparse(kind) if kind else "", "", said)


def _attributes(node: ast.ClassDef) -> dict[str, str]:
    """What the section `Attributes:` of a docstring says of each field."""
    _, _, text = (ast.get_docstring(node) or "").partition("Attributes:\n")
    entries = re.split(r"\n(?=\S)", textwrap.dedent(text.partition("\n\n")[0]))
    return {name: " ".join(said.split()) for name, _, said in (entry.partition(": ") for entry in entries)}


def _default(value: str) -> str:
    if match := re.match(r"field\((.*)\)$", value):
        options = dict(re.findall(r"(\w+)=(\w[\w.]*|'[^']*')", match[1]))
        factory = options.get("default_factory")
        return {"list": "[]", "dict": "{}", "tuple": "()"}.get(factory, "") if factory else options.get("default", "")
    return "" if value.startswith("_") else value


def _comment(lines: list[str], number: int) -> str:
    """The lines `#: ...` above a line."""
    found: list[str] = []
    while (text := lines[number - 2 - len(found)].strip()).startswith("#: "):
        found.insert(0, text[3:])
    return " ".join(found)


def _row(name: str, kind: str, default: str, comment: str) -> str:
    kind, default = (f"`{text}`".replace("|", "\\|") if text else "" for text in (kind, default))
    return f"| `{name}` | {kind} | {default} | {comment.replace('|', chr(92) + '|')} |"


# -- signatures and docstrings -----------------------------------------------------------------------------------------


def _described(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if any(it.endswith("property") for it in decorators):
        text = f"{node.name}: {ast.unparse(node.returns)}" if node.returns else node.name
        return [_code(text), *_docstring(node)]
    prefix = "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    kinds = [f"@{it}\n" for it in ("classmethod", "staticmethod", "contextmanager") if it in decorators]
    return [_code("".join(kinds) + _signature(prefix + node.name, node)), *_docstring(node)]


def _signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, *, returns: bool = True) -> str:
    parts = list(_parameters(node.args))
    result = f" -> {ast.unparse(node.returns)}" if returns and node.returns else ""
    text = f"{name}({', '.join(parts)}){result}"
    if len(text) > _WIDTH:
        text = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"
    return text


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    """Each parameter as text, but for the first of a method."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    for number, (argument, default) in enumerate(zip(plain, defaults, strict=True)):
        if argument.arg not in {"self", "cls"}:
            yield _parameter(argument, default)
        if number + 1 == len(arguments.posonlyargs) and number > 0:
            yield "/"
    if arguments.vararg:
        yield f"*{_parameter(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, default)
    if arguments.kwarg:
        yield f"**{_parameter(arguments.kwarg, None)}"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    value = ast.unparse(default) if default else ""
    return f"{argument.arg}{kind}" + (f" = {value}" if kind and value else f"={value}" if value else "")


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _docstring(node: Definition) -> list[str]:
    """A docstring as Markdown; its sections are lists."""
    found = []
    section = ""
    for paragraph in re.split(r"\n\n(?!    )", ast.get_docstring(node) or ""):
        head, _, rest = paragraph.partition("\n")
        if not (match := _SECTION.fullmatch(head)):
            found.append(re.sub(r"\n(?=- )", "\n\n", paragraph, count=1))
            continue
        section = match[1]
        if section == "Attributes":  # they are in the table of fields
            continue
        entries = re.split(r"\n(?=\S)", textwrap.dedent(rest))
        if section in {"Returns", "Yields"}:
            found.append(f"{section}: {' '.join(rest.split())}")
            continue
        rows = [re.sub(r"^([\w.]+(?:, [\w.]+)*):", r"- `\1`:", " ".join(entry.split())) for entry in entries]
        found += [f"{section}:", "\n".join(rows)]
    return found
