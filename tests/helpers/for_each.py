"""One test over many values: cheap checks that would be a thousand tests by parametrisation."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any


def for_each(values: Iterable[Any], *, ids: Callable[[Any], str] = str) -> Callable[[Callable[[Any], None]], Any]:
    """Decorate a check of one value: the test runs it for each, and names all values that fail, not only the first."""
    values = list(values)

    def decorate(check: Callable[[Any], None]) -> Callable[[], None]:
        @functools.wraps(check)
        def test() -> None:
            failed = []
            for value in values:
                try:
                    check(value)
                except AssertionError as error:
                    failed.append(f"{ids(value)}: {error}")
            assert values
            assert not failed, "\n\n".join(failed)

        # pytest looks for fixtures in the signature, which is the check's otherwise.
        test.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
        return test

    return decorate
