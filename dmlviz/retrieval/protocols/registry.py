"""The protocols by name, and the one way to apply them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dmlviz.retrieval.metrics import check_recall_at
from dmlviz.retrieval.protocols import clusters, codes, landmarks, pairs, people, places, precision, recall
from dmlviz.retrieval.protocols.evaluation import Protocol, ProtocolEvaluation
from dmlviz.retrieval.side import Side

FAMILIES = (recall, precision, clusters, landmarks, people, pairs, places, codes)

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {protocol.name: protocol for family in FAMILIES for protocol in family.PROTOCOLS}
)
"""Protocols by name, as `Gallery.evaluate` takes them."""


def protocol_named(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ValueError: there is none.
    """
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(map(repr, PROTOCOLS))}; got {name!r}")
    return PROTOCOLS[name]


def evaluate_by(
    name: str,
    queries: Side,
    items: Side,
    recall_at: Sequence[int] | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> ProtocolEvaluation:
    """Judge a gallery by a protocol; see `Gallery.evaluate`.

    Args:
        name: the protocol's.
        queries: the side that asks.
        items: the side that is ranked.
        recall_at: the values of k; the protocol's own if None.
        options: what the protocol needs or takes beside.

    Raises:
        ValueError: unknown protocol, a k below 1, or a k for a protocol that has none; else as the protocol says.
        TypeError: an option that the protocol does not take, or one that it needs is lacking.
    """
    protocol = protocol_named(name)
    if recall_at is not None and protocol.ks is None:
        raise ValueError(f"the protocol {name!r} has no k; leave recall_at away, got {tuple(recall_at)}")
    known = protocol.needs + protocol.takes
    unknown = [option for option in options if option not in known]
    if unknown:
        offered = f"it takes {', '.join(known)}" if known else "it takes none"
        raise TypeError(f"the protocol {name!r} has no option {unknown[0]!r}; {offered}")
    lacking = [option for option in protocol.needs if options.get(option) is None]
    if lacking:
        raise TypeError(
            f"the protocol {name!r} needs {lacking[0]}=, as in gallery.evaluate(protocol={name!r}, "
            f"{lacking[0]}=...); see the documentation of Gallery.evaluate"
        )
    ks = protocol.ks if recall_at is None else check_recall_at(recall_at)
    return protocol.run(name, queries, items, ks, **options)
