"""The check of a finished value against a schema; the validator is made for the first value."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from glm_gguf.errors import RequestError
from glm_gguf.schema.size_limits import SIMPLER
from glm_gguf.schema.walk import Schema

if TYPE_CHECKING:
    from glm_gguf.schema.validator import Validator


class ValueCheck:
    """Checks values against a schema, on any thread; RequestError if a check takes too long.

    `schema` is called for the first value: most schemas check none, and their text takes a fifth of the memory.
    """

    def __init__(self, schema: Callable[[], Schema], draft: str, field: str = "schema") -> None:
        self._schema = schema
        self._draft = draft
        self._field = field
        self._validator: Validator | None = None

    def problem(self, value: Any) -> str | None:
        """Say what is wrong with a value and where; None if it fits."""
        try:
            return self._made().problem(value)
        except RequestError as error:
            raise RequestError(error.what, field=self._field, fix=error.fix) from error
        except RecursionError as error:
            what = "the check of a value follows too many schemas in a row"
            raise RequestError(what, field=self._field, fix=SIMPLER) from error
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as broken:
            # What jsonschema's keywords raise on values that no schema may have.
            raise RequestError(f"no JSON Schema: {type(broken).__name__}: {broken}", field=self._field) from broken

    def _made(self) -> Validator:
        """Return the validator. Two threads may make one each, which does no harm."""
        if self._validator is None:
            # With jsonschema's extras installed, its import takes seconds: only a check pays for it.
            from glm_gguf.schema.validator import Validator

            self._validator = Validator.of(self._schema(), self._draft)
        return self._validator
