"""
How to define a resource type: its attributes, its relationships, and what requests may do with them.

Tables, documents, filters, sorting and validation all follow from these definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    One attribute, stored in a column of the same name.

    `kind` is text, integer, boolean, time, json or list; `flags` hold `c` (may be given at create),
    `u` (may be updated), `f` (may be filtered), `s` (may be sorted by) and `r` (required at create).
    """

    name: str
    kind: str
    flags: str


@dataclass(frozen=True, slots=True)
class Relationship:
    """
    One relationship.

    To one: `column` is this table's column that holds the id. To many: `column` is the column of the
    *target's* table that points back. Many to many: `through` is the table whose `column` holds the target's id
    and whose `resource_id` holds this one's. `flags` as for attributes, and `x` = cannot be included.
    """

    name: str
    target: str
    column: str
    many: bool
    flags: str
    through: str = ""

    def belongs(self, alias: str, owner: str) -> str:
        """The condition, in SQL, that the target's row `alias` belongs to the `owner` (an expression for its id)."""
        if self.through:
            return f"{alias}.id IN (SELECT {self.column} FROM {self.through} WHERE resource_id = {owner})"  # noqa: S608  names are ours
        return f"{alias}.{self.column} = {owner}"


@dataclass(frozen=True)
class ResourceType:
    """One resource type: where it is stored, what it shows, and which actions it has."""

    name: str
    attributes: Mapping[str, Attribute]
    relationships: Mapping[str, Relationship]
    triggers: Mapping[str, str]
    """Write-only attributes such as `_place`, with the kind of their value."""
    at_create: tuple[str, ...]
    """Those of them that may also be given at create."""
    private: tuple[str, ...]
    """Column definitions that only the sandbox sees."""
    actions: str
    """`l`ist, `r`etrieve, `c`reate, `u`pdate, `d`elete."""
    singleton: bool = False
    is_view: bool = False
    """The table of this name is a view of others."""
    by_cursor: bool = False
    """Its lists have no counts, and a cursor instead of numbered pages."""

    @cached_property
    def path(self) -> str:
        """The path segment after /api; that of a singleton is singular."""
        return self.name.removesuffix("s") if self.singleton else self.name

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that a resource object is made of: id, attributes, ids of to-one relationships."""
        own = [relationship.column for relationship in self.relationships.values() if not relationship.many]
        return ("id", *self.attributes, *dict.fromkeys(column for column in own if column not in self.attributes))

    @cached_property
    def index_of(self) -> Mapping[str, int]:
        """Position of each column in `columns`."""
        return {column: index for index, column in enumerate(self.columns)}

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Attributes and relationships that are required at create."""
        members: list[Attribute | Relationship] = [*self.attributes.values(), *self.relationships.values()]
        return tuple(member.name for member in members if "r" in member.flags)

    def column_of(self, name: str) -> str:
        """The column that an attribute or a to-one relationship is stored in."""
        return self.relationships[name].column if name in self.relationships else name


def resource_type(
    name: str,
    attributes: str,
    relationships: str = "",
    *,
    triggers: Mapping[str, str] | None = None,
    at_create: tuple[str, ...] = (),
    private: tuple[str, ...] = (),
    actions: str = "lrcud",
    singleton: bool = False,
    is_view: bool = False,
    by_cursor: bool = False,
) -> ResourceType:
    """
    Read a type from two tables in text form.

    An attribute is a line `name kind flags`, `-` for no flags. A relationship is `name -> type column flags`
    (to one), `name => type column flags` (to many) or `name <=> type column flags` (many to many).
    """
    own = [Attribute(*line.split()) for line in _lines(attributes)]
    related = [_relationship(line) for line in _lines(relationships)]
    every = [*own, *(Attribute(*line.split()) for line in _lines(_EVERY_RESOURCE))] if not singleton else own
    return ResourceType(
        name=name,
        attributes={attribute.name: attribute for attribute in every},
        relationships={relationship.name: relationship for relationship in related},
        triggers=dict(triggers or {}),
        at_create=at_create,
        private=private,
        actions=actions,
        singleton=singleton,
        is_view=is_view,
        by_cursor=by_cursor,
    )


# Every resource has these (commerce-layer resource metadata, schema 7.9).
_EVERY_RESOURCE = """
    created_at        time  fs
    updated_at        time  fs
    reference         text  cufs
    reference_origin  text  cufs
    metadata          json  cuf
"""


TAG_TRIGGERS = {"_add_tags": "text", "_remove_tags": "text"}
"""Triggers of every type that can have tags."""


def _lines(table: str) -> list[str]:
    return [line.strip() for line in table.splitlines() if line.strip()]


def _relationship(line: str) -> Relationship:
    name, arrow, target, column, flags = line.split()
    return Relationship(name, target, column, arrow != "->", flags, "taggings" if arrow == "<=>" else "")
