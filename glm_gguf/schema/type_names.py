"""Names of JSON's types, and those of programming languages that are read as one of them."""

from __future__ import annotations

from typing import Final

TYPES: Final = frozenset(("null", "boolean", "object", "array", "number", "string", "integer"))
FOREIGN_TYPES: Final = {
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("int", "long", "short", "byte", "bigint"), "integer"),
    **dict.fromkeys(("str", "text", "char"), "string"),
    **dict.fromkeys(("dict", "map", "hashmap", "hashtable"), "object"),
    **dict.fromkeys(("list", "tuple", "set", "arraylist", "queue", "stack"), "array"),
    **{"bool": "boolean", "none": "null", "nonetype": "null"},
}
"""Names of JSON's types in programming languages, in lower case; published tools use them."""
