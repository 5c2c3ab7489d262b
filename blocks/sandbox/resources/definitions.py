"""
How to define a resource type: its attributes, its relationships, and what requests may do with them.

Tables, documents, filters, sorting and validation all follow from these definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

NOTHING = "-"
"""In the place of a column: nothing is ever related here."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """
    One attribute: stored in a column of the same name, or shown from the column `of`, or always the same (`constant`).

    `kind` is text, integer, decimal, boolean, time, json or list; where it is computed, amount (cents as a decimal) or
    formatted (cents as text, in the resource's `currency_code`). `flags` hold `c` (may be given at create),
    `u` (may be updated), `f` (may be filtered), `s` (may be sorted by) and `r` (required at create).
    """

    name: str
    kind: str
    flags: str
    of: str = ""
    column: str = ""
    """What follows the type in the definition of the column: a default, or `AS (...)` for a generated one."""
    constant: str = ""
    """The value that every resource has, as SQL writes it."""

    @property
    def sql(self) -> str:
        """Its value in SQL, where it is not a column of its own name."""
        return self.constant or self.of


@dataclass(frozen=True, slots=True)
class Relationship:
    """
    One relationship.

    To one: `column` is this table's column that holds the id. To many: `column` is the column of the
    *target's* table that points back. Many to many: `through` is the table whose `column` holds the target's id
    and whose `resource_id` holds this one's. The column `-`: nothing is ever related. `flags` as for attributes, and
    `x` = cannot be included.
    """

    name: str
    target: str
    column: str
    many: bool
    flags: str
    through: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ever related."""
        return self.column == NOTHING

    def belongs(self, alias: str, owner: str) -> str:
        """The condition, in SQL, that the target's row `alias` belongs to the `owner` (an expression for its id)."""
        if self.is_empty:
            return f"{owner} IS NULL"  # an owner always has an id
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
    only_triggers: bool = False
    """An update may have triggers and nothing else."""
    by_cursor: bool = False
    """Its lists have no counts, and a cursor instead of numbered pages."""
    is_empty: bool = False
    """There is never one, hence no table."""
    rows: str = ""
    """The table of those that are stored, if the table of this name is a view of them and of others."""
    members: tuple[str, ...] = ()
    """The types of its resources, if this is only their common name."""

    @cached_property
    def path(self) -> str:
        """The path segment after /api; that of a singleton is singular."""
        return self.name.removesuffix("s") if self.singleton else self.name

    @cached_property
    def table(self) -> str:
        """The table that is written."""
        return self.rows or self.name

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that a resource object is made of: id, attributes, ids of to-one relationships."""
        own = [each.column for each in self.relationships.values() if not (each.many or each.is_empty)]
        return ("id", *self.stored, *dict.fromkeys(column for column in own if column not in self.attributes))

    @cached_property
    def stored(self) -> tuple[str, ...]:
        """The attributes that have a column."""
        return tuple(attribute.name for attribute in self.attributes.values() if not attribute.sql)

    @cached_property
    def written(self) -> tuple[str, ...]:
        """Those of the columns that the database does not compute."""
        generated = {name for name, attribute in self.attributes.items() if attribute.column.startswith("AS ")}
        return tuple(column for column in self.columns if column not in generated)

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
    only_triggers: bool = False,
    by_cursor: bool = False,
    is_empty: bool = False,
    rows: str = "",
    members: tuple[str, ...] = (),
) -> ResourceType:
    """
    Read a type from two tables in text form.

    An attribute is a line `name kind flags`, `-` for no flags, and then what follows in the definition of its column,
    `= 0` for a constant, or `= other` where it always is another attribute. The kind `money` stands for three
    attributes, the amount in cents, as a decimal and formatted. A relationship is `name -> type column flags`
    (to one), `name => type column flags` (to many) or `name <=> type column flags` (many to many), the last one with
    its table if that is not `taggings`.
    """
    own = [attribute for line in _lines(attributes) for attribute in _attributes(*line.split(maxsplit=3))]
    related = [_relationship(line) for line in _lines(relationships)]
    common = [Attribute(*line.split()) for line in _lines(_EVERY_RESOURCE)] if not singleton else []
    if only_triggers:
        common = [replace(attribute, flags=attribute.flags.replace("u", "")) for attribute in common]
    return ResourceType(
        name=name,
        attributes={attribute.name: attribute for attribute in [*own, *common]},
        relationships={relationship.name: relationship for relationship in related},
        triggers=dict(triggers or {}),
        at_create=at_create,
        private=private,
        actions=actions,
        singleton=singleton,
        is_view=is_view,
        only_triggers=only_triggers,
        by_cursor=by_cursor,
        is_empty=is_empty,
        rows=rows,
        members=members,
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


def _attributes(name: str, kind: str, flags: str, rest: str = "") -> list[Attribute]:
    if kind != "money":
        return [_attribute(name, kind, flags, rest)]
    first = _attribute(f"{name}_cents", "integer", flags, rest)
    shown = {"of": first.of or ("" if first.constant else first.name), "constant": first.constant}
    return [
        first,
        Attribute(f"{name}_float", "amount", "", **shown),
        Attribute(f"formatted_{name}", "formatted", "", **shown),
    ]


def _attribute(name: str, kind: str, flags: str, rest: str) -> Attribute:
    if not rest.startswith("= "):
        return Attribute(name, kind, flags, column=rest)
    value = rest.removeprefix("= ")
    is_column = value[0].islower()
    return Attribute(name, kind, flags, of=value if is_column else "", constant="" if is_column else value)


def _relationship(line: str) -> Relationship:
    name, arrow, target, column, flags, *table = line.split()
    through = "" if arrow != "<=>" else table[0] if table else "taggings"
    return Relationship(name, target, column, arrow != "->", flags, through)
