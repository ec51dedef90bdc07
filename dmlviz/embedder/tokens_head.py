"""The head of a transformer: everything from its patches to its embedding, taken apart at the tokens of a layer."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dmlviz.embedder.head_error import HeadError
from dmlviz.embedder.jacobian import JacobianHead
from dmlviz.embedder.local_embeddings import LocalEmbeddings
from dmlviz.embedder.passage import Passage
from dmlviz.embedder.path_integral import integrated_products
from dmlviz.embedder.tape import Ref, Tape
from dmlviz.embedder.token_places import attention_after, places_of_tokens

Function = Callable[[Tensor], Tensor]
NODES = 8


class TokensHead(JacobianHead):
    """A transformer from its patch embedding on, taken apart at tokens deeper down.

    A cell's local embedding is the Jacobian applied to what the token of that patch differs by from a blank
    picture's, integrated along the way from there (8 nodes). To first order it would be nothing: a LayerNorm before
    attention does not see the length of a token, so the derivative along the token itself is zero. The offset is
    the rest: the blank picture's embedding, what tokens that are no patch (class token, registers) add, and what
    the nodes miss. It differs from image to image.

    Attributes:
        layer: The layer whose tokens are taken: the last one before the last attention.
        layers: All layers whose tokens can be taken, in the order they run.
        grid: (h, w) of the patches.
    """

    def __init__(self, tape: Tape, start: Ref, end: Ref, blank: Tensor) -> None:
        """Take the head from a tape: `start` the patch map (1, C, h, w), `end` the embedding.

        `blank` is the patch map (C, h, w) of a blank picture.

        Raises:
            HeadError: If no layer gives tokens of these patches that everything passes through.
        """
        super().__init__(Passage.cut(tape, start, end), None)
        _, _, h, w = tape.value(start).shape
        self.grid = (int(h), int(w))
        places = places_of_tokens(tape, self.grid[0] * self.grid[1], start)
        if not places:
            raise HeadError("no layer gives tokens, one per patch, that the whole embedding follows from")
        attending = [name for name, ref in places.items() if attention_after(tape, ref)]
        self.layer = (attending or list(places))[-1]
        self.layers = tuple(places)
        self._passages = {
            name: (
                Passage.cut(tape, start, ref),
                Passage.cut(tape, ref, end),
                tuple(tape.value(ref).shape[1:]),
            )
            for name, ref in places.items()
        }
        prefix = self._passages[self.layer][2][0] - self.grid[0] * self.grid[1]
        others = f"its {prefix} token{'s' if prefix > 1 else ''} without a patch" if prefix else ""
        self.note = (
            f"parts by integrated Jacobians with {NODES} nodes from a blank picture, at the tokens of layer "
            f"{self.layer!r}; the offset differs from image to image and holds what the nodes miss"
            + (f" and what {others} add{'s' if prefix == 1 else ''}" if prefix else "")
        )
        self._blank = blank.detach().cpu().double()
        self._players: dict[Any, tuple[Function, Function]] = {}

    def passages(
        self, layer: str, device: torch.device, dtype: torch.dtype
    ) -> tuple[Function, Function, tuple[int, ...]]:
        """From the patch map (C, h, w) to the flat tokens of a layer, from them to the embedding, their shape."""
        key = (layer, device, dtype)
        before, after, shape = self._passages[layer]
        if key not in self._players:
            self._players[key] = (before.function(device, dtype), after.function(device, dtype))
        return (*self._players[key], shape)

    def passage_to(self, layer: str) -> Passage:
        """The passage from the patch map to the tokens of a layer."""
        return self._passages[layer][0]

    def local_embeddings(self, feature_map: Tensor) -> LocalEmbeddings:
        """Take the embedding of one patch map (C, h, w) apart, at the tokens of `layer`.

        Raises:
            ValueError: If a value is not finite or the shape is another than the head was built for.
        """
        self._check(feature_map)
        feature_map = feature_map.detach()
        before, after, shape = self.passages(self.layer, feature_map.device, feature_map.dtype)
        with torch.no_grad():
            tokens = before(feature_map).reshape(shape)
            start = before(self._blank.to(feature_map)).reshape(shape)
            whole = after(tokens)
        numbers = torch.arange(shape[0], device=tokens.device)[:, None]
        shares = integrated_products(after, tokens, start, numbers, NODES).detach()
        cells = shares[-self.grid[0] * self.grid[1] :]
        rest = whole - cells.sum(0)
        return LocalEmbeddings(
            cells.reshape(*self.grid, -1).cpu().numpy(), rest.detach().cpu().numpy(), self.note
        )

    def embed_kept(self, feature_map: Tensor, keep: Tensor) -> Tensor:
        """Embed one patch map with the tokens of some patches, at `layer`, turned into a blank picture's.

        Args:
            feature_map: (C, h, w), the patch map.
            keep: (B, h, w) of the same dtype, from 0 (a blank picture's token) to 1 (the image's own). Tokens
                without a patch are the image's own throughout.

        Returns:
            (B, D) embeddings, not normalised.

        Raises:
            ValueError: If a value is not finite or the shape is another than the head was built for.
        """
        self._check(feature_map)
        before, after, shape = self.passages(self.layer, feature_map.device, feature_map.dtype)
        tokens = before(feature_map).reshape(shape)
        start = before(self._blank.to(feature_map)).reshape(shape)
        share = keep.new_ones(len(keep), shape[0], 1)
        share[:, -self.grid[0] * self.grid[1] :, 0] = keep.flatten(1)
        return torch.stack([after(one) for one in start + share * (tokens - start)])

    def description(self) -> dict[str, Any]:
        """The settings that are not weights, as plain values."""
        return {"pooling": "tokens", "exact": False, "layer": self.layer, "nodes": NODES}
