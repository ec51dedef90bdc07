"""The attention weights of a transformer up to the tokens at which its embeddings are taken apart."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmlviz.embedder.as_found import evaluating, placement
from dmlviz.embedder.embedder import Embedder
from dmlviz.embedder.mapped_head import peeled
from dmlviz.embedder.tape import Ref, record
from dmlviz.embedder.token_trunk import TokenTrunk
from dmlviz.embedder.tokens_head import TokensHead


def reads_attention(embedder: Any) -> bool:
    """Whether an embedder is a transformer whose local embeddings belong to tokens of patches."""
    return isinstance(embedder, Embedder) and (
        isinstance(peeled(embedder.head)[0], TokensHead) or isinstance(embedder.trunk, TokenTrunk)
    )


def attentions_of(embedder: Embedder, image: Any) -> list[np.ndarray]:
    """The attention weights of one picture, layer by layer, up to the tokens that are taken apart.

    They are read off the network's own run: every softmax whose result is one number per pair of tokens. So it
    works for any implementation of attention between all tokens (torchvision, timm, Hugging Face), fused or not.

    Args:
        embedder: An embedder of a transformer.
        image: A picture (h, w, 3) uint8.

    Returns:
        One (heads, L, L) float64 array per layer, the first layer first: row i says how much token i takes from
        each token; rows sum to 1. The last h·w tokens are the patches in row order.

    Raises:
        ValueError: If the embedder is no transformer, or no attention between all its tokens is found.
    """
    if not reads_attention(embedder):
        raise ValueError(
            f"the attention of {getattr(embedder, 'name', type(embedder).__name__)!r} cannot be read: expected a "
            f"transformer of patches, made by Embedder.from_module"
        )
    embedder._refuse_changed_weights()
    device, dtype = placement(embedder.trunk)
    inputs = embedder._to_input([image])
    head = peeled(embedder.head)[0]
    with torch.no_grad(), evaluating(embedder.trunk), evaluating(head):
        if isinstance(head, TokensHead):
            passage = head.passage_to(head.layer)
            values = passage.player(device, dtype)(embedder.trunk(inputs))
            found = [values.get(Ref(step.index)) for step in passage.steps if "softmax" in step.name]
        else:
            tape = record(embedder.trunk, inputs)
            found = [
                tape.value(Ref(step.index))
                for step in tape.between(Ref(-1), tape.output)
                if "softmax" in step.name
            ]
    patches = embedder.map_size[0] * embedder.map_size[1]
    weights = [_per_head(one) for one in found if one is not None and _is_between_tokens(one, patches)]
    if not weights:
        raise ValueError(
            f"no attention between all tokens was found in {embedder.name!r} before the tokens that are taken "
            f"apart (windows and linear attention have none, and a network of one layer none before its last); use "
            f"method='decomposition' or 'integrated-jacobian'"
        )
    return weights


def _is_between_tokens(weights: Tensor, patches: int) -> bool:
    return weights.ndim >= 2 and weights.shape[-1] == weights.shape[-2] >= patches


def _per_head(weights: Tensor) -> np.ndarray:
    return weights.reshape(-1, *weights.shape[-2:]).cpu().double().numpy()
