"""Prepared trees in the bucket: kept under their keys, and no more of them than may be."""

from headstart.domain import tree as trees
from headstart.domain.archive import Tree
from headstart.domain.errors import ServiceUnavailable
from headstart.usecases.ports import Ports


def keep_tree(ports: Ports, source: str, tree: Tree) -> None:
    """Have a session's base be the tree of its key, in the place of an older one.

    Whichever of two is not kept is deleted, and so are the oldest of all above the limit. Raises
    ServiceUnavailable.
    """
    try:
        if not ports.objects.copy(source, tree.file):
            raise ServiceUnavailable("what a prepared tree is made of is gone")
        unneeded = ports.store.put_tree(tree)
    except Exception:
        ports.metrics.count("PreparedTreesFailed")
        raise
    if unneeded is not None:
        ports.objects.drop(unneeded.file.key)
    if unneeded is not tree:
        ports.metrics.count("PreparedTreesMade")
        _make_room(ports)


def _make_room(ports: Ports) -> None:
    """Delete the oldest trees above the limit; who would adopt one is told that it is gone."""
    found = sorted(ports.objects.listed(trees.PREFIX), key=lambda object_: object_.written_at)
    total = sum(object_.bytes for object_ in found)
    for object_ in found:
        if total <= ports.policy.prepared_trees_bytes:
            return
        ports.objects.drop(object_.key)
        total -= object_.bytes
