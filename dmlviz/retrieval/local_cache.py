"""Local embeddings kept in memory up to a number of bytes, the longest unused dropped first."""

from collections import OrderedDict
from collections.abc import Hashable

from dmlviz.embedder import LocalEmbeddings


class LocalCache:
    """Keeps the local embeddings that were used last.

    Args:
        limit: how many bytes to keep, at least 0. One that is larger by itself is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._kept: OrderedDict[Hashable, LocalEmbeddings] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> LocalEmbeddings | None:
        """What is kept under a key, now the last used; None where there is nothing."""
        local = self._kept.get(key)
        if local is not None:
            self._kept.move_to_end(key)
        return local

    def put(self, key: Hashable, local: LocalEmbeddings) -> None:
        """Keep one, and drop the longest unused until all fit."""
        replaced = self._kept.pop(key, None)
        if replaced is not None:
            self.bytes -= _size(replaced)
        if _size(local) > self.limit:
            return
        self._kept[key] = local
        self.bytes += _size(local)
        while self.bytes > self.limit:
            _, dropped = self._kept.popitem(last=False)
            self.bytes -= _size(dropped)


def _size(local: LocalEmbeddings) -> int:
    return int(local.vectors.nbytes + local.offset.nbytes)
