"""Tags of customers, orders and subscriptions."""

from __future__ import annotations

from collections.abc import Iterable

from blocks.sandbox.shop.shop import Shop


def replace(shop: Shop, resource_id: str, tag_ids: Iterable[str]) -> None:
    """Replace the tags of a resource."""
    shop.database.execute("DELETE FROM taggings WHERE resource_id = ?", (resource_id,))
    for tag_id in tag_ids:
        _add(shop, resource_id, tag_id)


def apply_trigger(shop: Shop, resource_type: str, resource_id: str, name: str, names: str) -> None:
    """Apply `_add_tags` or `_remove_tags`: a comma list of names; unknown ones are ignored."""
    for tag_name in names.split(","):
        found = shop.database.first("SELECT id FROM tags WHERE name = ?", (tag_name.strip(),))
        if found is not None and name == "_add_tags":
            _add(shop, resource_id, found["id"])
        elif found is not None:
            shop.database.execute(
                "DELETE FROM taggings WHERE resource_id = ? AND tag_id = ?", (resource_id, found["id"])
            )
    shop.publish(f"{resource_type}.tagged", resource_type, resource_id)


def forget(shop: Shop, deleted_id: str) -> None:
    """Remove the tags of a deleted resource, or a deleted tag from all resources."""
    shop.database.execute("DELETE FROM taggings WHERE resource_id = ? OR tag_id = ?", (deleted_id, deleted_id))


def _add(shop: Shop, resource_id: str, tag_id: str) -> None:
    shop.database.execute("INSERT OR IGNORE INTO taggings VALUES (?, ?)", (resource_id, tag_id))
