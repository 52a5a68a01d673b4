"""The template of the route that served a request, as its framework has left it in scope or environ.

No framework is imported. Templates are brought into one form, `/items/{i}`, so that services on different frameworks
have one name for one kind of request.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

#: `{i:int}` of Starlette, `<int:i>` and `<regex("[a-z]"):i>` of Flask and Django.
_BRACES = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
_ANGLES = re.compile(r"<(?:[^<>:]*(?:\([^<>]*\))?:)?(\w+)>")
_DJANGO, _FASTAPI = "django.core.handlers.base", "fastapi.applications"
_DEEPEST = 10


@functools.lru_cache(maxsize=4096)
def normalised(template: str) -> str:
    """Return the template with `{name}` for each parameter."""
    if "(?P<" in template or template.startswith("^") or "/^" in template:
        template = _without_regex(template)
    template = _BRACES.sub(r"{\1}", _ANGLES.sub(r"{\1}", template))
    return template if template.startswith("/") else f"/{template}"


def _without_regex(template: str) -> str:
    """A route of Django's `re_path`: named groups become `{name}`, anchors and escapes go, other groups are `{}`."""
    parts: list[str] = []
    position = 0
    while position < len(template):
        if template[position] == "(":
            end = _group_end(template, position)
            name = re.match(r"\(\?P<(\w+)>", template[position:])
            if name or not template.startswith("(?", position):
                parts.append(f"{{{name[1]}}}" if name else "{}")
            position = end
        elif template[position] == "\\":
            position += 1
            if position < len(template) and template[position] not in "AZbB":
                parts.append(template[position])
            position += 1
        else:
            if template[position] not in "^$?":
                parts.append(template[position])
            position += 1
    return "".join(parts)


def _group_end(template: str, start: int) -> int:
    depth, position = 0, start
    while position < len(template):
        char = template[position]
        if char == "\\":
            position += 1
        elif char in "()":
            depth += 1 if char == "(" else -1
            if depth == 0:
                return position + 1
        position += 1
    return len(template)


def of_scope(scope: Mapping[str, Any]) -> str | None:
    """Return the route that Starlette and FastAPI leave in the scope, mounts included."""
    mounted = "app_root_path" in scope
    route = scope.get("route")
    if route is None and not mounted and "endpoint" not in scope:
        return None
    path = _leaf(scope, route)
    if not mounted and path is not None:
        return normalised(path)
    walked = _walk(scope)
    if mounted and walked is not None and (path is None or hasattr(route, "routes")):
        # Nothing below the mount was found, or what is mounted has no routes.
        return normalised(f"{walked[0]}/{{path}}")
    if walked is None:
        return normalised(path) if path is not None else None
    prefix, last = walked
    path = path if path is not None else last
    return normalised(prefix + path) if path is not None else None


def _leaf(scope: Mapping[str, Any], route: Any) -> str | None:
    """The last route's own template. FastAPI's of an included router lacks the router's prefix, which is beside it."""
    included = scope.get("fastapi")
    context = included.get("effective_route_context") if isinstance(included, Mapping) else None
    if context is not None and getattr(context, "original_route", None) is route:
        effective = getattr(context, "starlette_route", None) or context
        if isinstance(path := getattr(effective, "path", None), str):
            return path
    path = getattr(route, "path", None)
    return path if isinstance(path, str) else None


def _walk(scope: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Match again from the outermost router down: the templates of the mounts, and of the route at the end."""
    initial = scope.get("app_root_path", scope.get("root_path", ""))
    at: dict[str, Any] = {**scope, "root_path": initial, "path_params": {}}
    at.pop("fastapi", None)
    routes, prefix = getattr(scope.get("router"), "routes", None), ""
    for _ in range(_DEEPEST):
        found = _first_match(routes or (), at)
        if found is None:
            return (prefix, None) if prefix else None
        route, child = found
        path = getattr(route, "path", None)
        if "root_path" not in child:
            return prefix, path if isinstance(path, str) else None
        prefix += path if isinstance(path, str) else ""
        at.update(child)
        if at["root_path"] == scope.get("root_path"):
            last = _first_match(getattr(route, "routes", None) or (), at)
            path = getattr(last[0], "path", None) if last else None
            return prefix, path if isinstance(path, str) else None
        routes = getattr(route, "routes", None)
    return None


def _first_match(routes: Any, scope: MutableMapping[str, Any]) -> tuple[Any, Mapping[str, Any]] | None:
    for route in routes:
        match, child = route.matches(scope)
        if getattr(match, "name", "NONE") != "NONE":
            return route, child
    return None


def of_environ(environ: Mapping[str, Any], mount: str) -> str | None:
    """Return Flask's route from its request in the environ; `mount` is the `SCRIPT_NAME` that the application got."""
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if not isinstance(rule, str):
        return None
    below = str(environ.get("SCRIPT_NAME", "")).removeprefix(mount)
    return normalised(below + rule)


def is_django(app: object) -> bool:
    """Return whether the application is Django's handler, or a wrapper that keeps it as an attribute."""
    return _is_of(_DJANGO, app)


def is_fastapi(app: object) -> bool:
    """Return whether the application is FastAPI's, or a wrapper that keeps it as an attribute."""
    return _is_of(_FASTAPI, app)


def _is_of(module: str, app: object) -> bool:
    for _ in range(_DEEPEST):
        if any(cls.__module__ == module for cls in type(app).__mro__):
            return True
        app = next((inner for name in ("app", "application", "wsgi_app") if (inner := getattr(app, name, None))), None)
        if app is None:
            return False
    return False


def of_django(path: str) -> str | None:
    """Return Django's route, resolved again with the current URLconf: Django does not expose its match."""
    urls: Any = sys.modules.get("django.urls")
    if urls is None:
        return None
    try:
        match = urls.resolve(path)
    except urls.Resolver404:
        return None
    return normalised(match.route)
