"""The xCos module: against loops written from the paper, by hand on 2 × 2 cells, and by its properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dmlviz.embedder import XCos
from dmlviz.embedder.xcos import XCosAttention, grid_cosines


def lively(channels: int, seed: int, symmetric: bool = True) -> XCos:
    """A module in eval mode whose batch normalisations and slopes are not at their first values."""
    generator = torch.Generator().manual_seed(seed)
    module = XCos(channels, symmetric).double().eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if "num_batches" in name:
                continue
            noise = torch.rand(value.shape, generator=generator, dtype=value.dtype)
            value.copy_(0.5 + noise if name.endswith("running_var") else 0.8 * (noise - 0.4))
    return module


def maps(seed: int, count: int = 1, channels: int = 5, grid: tuple[int, int] = (3, 2)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, *grid, generator=generator, dtype=torch.float64)


# ---- the same by loops, in float64 ---------------------------------------------------------------------------


def slow_convolution(cells, layer: nn.Conv2d):
    """cells[channel][row][col] -> the same; zero padding of half a kernel."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    reach = weight.shape[2] // 2
    h, w = len(cells[0]), len(cells[0][0])
    found = np.zeros((len(weight), h, w))
    for out in range(len(weight)):
        for row in range(h):
            for col in range(w):
                total = bias[out]
                for channel in range(len(cells)):
                    for down in range(-reach, reach + 1):
                        for right in range(-reach, reach + 1):
                            r, c = row + down, col + right
                            if 0 <= r < h and 0 <= c < w:
                                total += (
                                    weight[out, channel, down + reach, right + reach] * cells[channel][r][c]
                                )
                found[out, row, col] = total
    return found


def slow_block(cells, block: nn.Sequential):
    """Convolution, batch normalisation by running statistics, PReLU."""
    convolution, norm, prelu = block
    found = slow_convolution(cells, convolution)
    for channel in range(len(found)):
        gain = norm.weight[channel].item() / math.sqrt(norm.running_var[channel].item() + norm.eps)
        slope = prelu.weight[channel % len(prelu.weight)].item()
        for place in np.ndindex(found.shape[1:]):
            value = (
                gain * (found[channel][place] - norm.running_mean[channel].item()) + norm.bias[channel].item()
            )
            found[channel][place] = value if value >= 0 else slope * value
    return found


def slow_weights(first, second, attention: XCosAttention):
    fused = np.concatenate(
        [slow_block(first, attention.embedding_net), slow_block(second, attention.embedding_net)]
    )
    levels = slow_block(slow_block(fused, attention.attention[:3]), attention.attention[3:])[0]
    shares = np.array([[math.exp(level) for level in row] for row in levels])
    return shares / shares.sum()


def slow_xcos(first, second, module: XCos):
    """Weights, cosines and score of one pair of feature maps (C, h, w)."""
    a, b = (slow_block(cells, module.conv1x1) for cells in (first, second))
    cosines = np.zeros(a.shape[1:])
    for row, col in np.ndindex(cosines.shape):
        x, y = a[:, row, col], b[:, row, col]
        cosines[row, col] = sum(x * y) / (math.sqrt(sum(x * x)) * math.sqrt(sum(y * y)))
    weights = slow_weights(a, b, module.attention)
    if module.symmetric:
        weights = (weights + slow_weights(b, a, module.attention)) / 2
    return weights, cosines, sum(weights[place] * cosines[place] for place in np.ndindex(cosines.shape))


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_module_equals_loops_written_from_the_paper(symmetric):
    module, first, second = lively(5, 1, symmetric), maps(2), maps(3)
    weights, cosines, score = slow_xcos(first[0].numpy(), second[0].numpy(), module)
    parts = module.parts(first, second)
    np.testing.assert_allclose(parts.weights[0].detach().numpy(), weights, atol=1e-12)
    np.testing.assert_allclose(parts.cosines[0].detach().numpy(), cosines, atol=1e-12)
    assert parts.scores.item() == pytest.approx(score, abs=1e-12)
    assert weights.max() > 1.2 * weights.min()  # the attention says something


def test_pairs_of_a_batch_do_not_see_each_other():
    module, first, second = lively(5, 4), maps(5, count=3), maps(6, count=3)
    together = module.parts(first, second)
    for k in range(3):
        alone = module.parts(first[k : k + 1], second[k : k + 1])
        for part, single in zip(together, alone, strict=True):
            torch.testing.assert_close(part[k], single[0], rtol=0, atol=1e-13)


# ---- by hand, on 2 × 2 cells ----------------------------------------------------------------------------------


def by_hand(symmetric: bool) -> XCos:
    """Its cells are its input's two channels; its attention is a softmax of the first image's first channel."""
    module = XCos(2, symmetric).double().eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.zero_()
                part.bias.zero_()
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0
            if isinstance(part, nn.PReLU):
                part.weight.fill_(1.0)
        module.conv1x1[0].weight[0, 0] = module.conv1x1[0].weight[1, 1] = 1.0
        for layer in (
            module.attention.embedding_net[0],
            module.attention.attention[0],
            module.attention.attention[3],
        ):
            layer.weight[0, 0, 1, 1] = 1.0
    return module


def test_by_hand_on_four_cells():
    log = math.log
    first = torch.tensor([[[[log(1), log(2)], [log(3), log(4)]], [[1.0, 0.0], [0.0, 0.0]]]]).double()
    second = torch.tensor([[[[0.0, 0.0], [-1.0, 2.0]], [[2.0, 5.0], [0.0, 0.0]]]]).double()
    # cells of the first: (0, 1), (log 2, 0), (log 3, 0), (log 4, 0); of the second: (0, 2), (0, 5), (-1, 0), (2, 0)
    parts = by_hand(symmetric=False).parts(first, second)
    torch.testing.assert_close(parts.weights[0].flatten(), torch.tensor([0.1, 0.2, 0.3, 0.4]).double())
    torch.testing.assert_close(parts.cosines[0].flatten(), torch.tensor([1.0, 0.0, -1.0, 1.0]).double())
    assert parts.scores.item() == pytest.approx(0.1 - 0.3 + 0.4)

    total = 1 + 1 + math.exp(-1) + math.exp(2)  # the second image's first channel: 0, 0, -1, 2
    other = [1 / total, 1 / total, math.exp(-1) / total, math.exp(2) / total]
    mean = [(mine + theirs) / 2 for mine, theirs in zip([0.1, 0.2, 0.3, 0.4], other, strict=True)]
    parts = by_hand(symmetric=True).parts(first, second)
    torch.testing.assert_close(parts.weights[0].flatten(), torch.tensor(mean).double())
    assert parts.scores.item() == pytest.approx(mean[0] - mean[2] + mean[3])


def test_a_cell_of_length_zero_has_the_cosine_zero():
    cells = torch.zeros(1, 3, 1, 2, dtype=torch.float64)
    cells[0, :, 0, 1] = 1.0
    assert grid_cosines(cells, cells)[0, 0].tolist() == pytest.approx([0.0, 1.0])
    cells.requires_grad_(True)
    grid_cosines(cells, cells.detach()).sum().backward()
    assert torch.isfinite(cells.grad).all()


# ---- properties -----------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    symmetric=st.booleans(),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_weights_sum_to_one_and_the_score_lies_between_its_cosines(seed, height, width, symmetric, size):
    module = lively(4, seed, symmetric)
    first = size * maps(seed + 1, channels=4, grid=(height, width))
    second = size * maps(seed + 2, channels=4, grid=(height, width))
    parts = module.parts(first, second)
    assert parts.weights.min() >= 0
    assert parts.weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert -1 - 1e-12 <= parts.cosines.min() <= parts.scores[0] + 1e-12
    assert parts.scores[0] - 1e-12 <= parts.cosines.max() <= 1 + 1e-12
    assert module(first, first).item() == pytest.approx(1, abs=1e-9)
    if symmetric:
        assert module(second, first).item() == pytest.approx(parts.scores.item(), abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), left=st.floats(0.01, 100), right=st.floats(0.01, 100))
def test_cosines_do_not_see_lengths(seed, left, right):
    first, second = maps(seed), maps(seed + 1)
    torch.testing.assert_close(
        grid_cosines(left * first, right * second), grid_cosines(first, second), rtol=0, atol=1e-10
    )


def test_the_published_order_is_not_symmetric():
    module, first, second = lively(5, 7, symmetric=False), maps(8), maps(9)
    assert abs(module(first, second) - module(second, first)).item() > 1e-4
    module.symmetric = True
    assert module(first, second).item() == pytest.approx(module(second, first).item(), abs=1e-14)


# ---- what it is made of, and what it refuses --------------------------------------------------------------------


def test_parameters_are_the_published_ones():
    module = XCos(512)
    assert sum(p.numel() for p in module.attention.parameters()) == 9462
    names = {name: tuple(value.shape) for name, value in module.named_parameters()}
    assert names["conv1x1.0.weight"] == (32, 512, 1, 1)
    assert names["conv1x1.2.weight"] == (32,)
    assert names["attention.embedding_net.0.weight"] == (16, 32, 3, 3)
    assert names["attention.attention.3.weight"] == (1, 16, 3, 3)
    assert names["attention.attention.5.weight"] == (1,)
    assert len(names) == 5 + 5 + 10
    assert module.channels == 512


def test_what_does_not_fit_is_refused_in_words():
    module = XCos(5).eval()
    with pytest.raises(ValueError, match=r"both need one grid; got 3 × 2 and 2 × 3 cells"):
        module.parts(torch.ones(1, 5, 3, 2), torch.ones(1, 5, 2, 3))
    with pytest.raises(ValueError, match=r"takes feature maps \(N, 5, h, w\), got \(1, 4, 3, 2\)"):
        module.parts(torch.ones(1, 4, 3, 2), torch.ones(1, 4, 3, 2))
    with pytest.raises(
        ValueError, match=r"as many images with as many others.*got \(2, 32, 3, 2\) and \(1, "
    ):
        module.compare(torch.ones(2, 32, 3, 2), torch.ones(1, 32, 3, 2))
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        XCos(0)
