"""Where cells lie: by hand, by arithmetic over layers, and by gradient."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from dmlviz.embedder import CellGeometry, cell_of_pixel, half_pixel


def geometry(trunk, size=64, channels=3):
    return CellGeometry.from_trunk(trunk.eval(), (size, size), channels)


def as_numbers(found):
    return found.stride[0], found.first[0], found.receptive_field[0]


def conv(k, s=1, p=0, d=1, **rest):
    return nn.Conv2d(3, 3, k, s, p, d, **rest)


@pytest.mark.parametrize(
    ("trunk", "expected"),
    [  # (stride, first centre, receptive field), worked out by hand
        (conv(3, 2, 1), (2, 0, 3)),
        (conv(4, 2, 1), (2, 0.5, 4)),
        (conv(7, 2, 3), (2, 0, 7)),
        (conv(3, 1, 0), (1, 1, 3)),
        (conv(3, 1, 2, 2), (1, 0, 5)),
        (conv(5, 1, "same"), (1, 0, 5)),
        (nn.Sequential(conv(3, 2, 1), conv(3, 2, 1), nn.MaxPool2d(2)), (8, 2, 11)),
        (nn.Sequential(conv(3, 1, 1), nn.AvgPool2d(2), nn.BatchNorm2d(3), nn.ReLU()), (2, 0.5, 4)),
        (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 2, 0)), (2, 1, 3)),
        (nn.Sequential(nn.ReflectionPad2d(1), conv(3)), (1, 0, 3)),
        (nn.Sequential(conv(2, 2), nn.Upsample(scale_factor=2)), (1, 0, 2)),
        (nn.Sequential(conv(2, 2), nn.ConvTranspose2d(3, 3, 2, 2)), (1, 0, 2)),
        (nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 3, 1)), (2, 0.5, 2)),
        (nn.AdaptiveAvgPool2d(8), (8, 3.5, 8)),
    ],
)
def test_arithmetic_by_hand(trunk, expected):
    found = geometry(trunk)
    assert as_numbers(found) == expected
    assert found.note == ""


def test_axes_are_kept_apart():
    found = geometry(nn.Conv2d(3, 3, (3, 5), (1, 4), (1, 0)))
    assert found == CellGeometry((1, 4), (0, 2), (3, 5))


class Residual(nn.Module):
    def __init__(self, join):
        super().__init__()
        self.long, self.short, self.join = conv(3, 2, 1), conv(1, 2), join

    def forward(self, x):
        return self.join(self.long(x), self.short(x))


@pytest.mark.parametrize("join", [torch.add, lambda a, b: torch.cat([a, b], 1)])
def test_branches_that_agree(join):
    assert as_numbers(geometry(Residual(join))) == (2, 0, 3)


def test_branches_that_lie_apart_are_named():
    trunk = Residual(torch.add)
    trunk.short = nn.AvgPool2d(2)
    found = geometry(trunk)
    assert as_numbers(found) == (2, 0, 3)
    assert "0.25 cells apart" in found.note


def test_a_gate_that_looks_at_everything_is_left_out_and_said():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.gate = conv(3, 2, 1), conv(1)

        def forward(self, x):
            x = self.a(x)
            return x * torch.sigmoid(self.gate(F.adaptive_avg_pool2d(x, 1)))

    found = geometry(Gated())
    assert as_numbers(found) == (2, 0, 3)
    assert "squeeze and excitation" in found.note


def test_a_layer_that_mixes_cells_is_refused_by_name():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.mix = conv(8, 8), nn.Linear(64, 64)

        def forward(self, x):
            x = self.a(x)
            return self.mix(x.flatten(2)).reshape(x.shape)

    with pytest.raises(
        ValueError, match=r"layer 'mix' \(Linear.*mixes cells; measure it with CellGeometry.measured"
    ):
        geometry(Mixing())


@pytest.mark.parametrize(
    "trunk",
    [
        nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1)),
        nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 64, 4, 2, 1)),
        nn.Sequential(nn.Conv2d(3, 64, 5, 3, 0), nn.MaxPool2d(2)),
    ],
)
def test_gradient_confirms_the_arithmetic(trunk):
    generator = torch.Generator().manual_seed(0)
    for layer in trunk:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, generator=generator)
    calculated = geometry(trunk, 61)
    measured = CellGeometry.measured(trunk, (61, 61), samples=24)
    np.testing.assert_allclose(measured.stride, calculated.stride, atol=0.3)
    middle = [61 // calculated.stride[0] // 2] * 2
    np.testing.assert_allclose(measured.pixel_of_cell(*middle), calculated.pixel_of_cell(*middle), atol=0.5)
    assert max(measured.receptive_field) <= calculated.receptive_field[0]


def test_measuring_leaves_the_trunk_as_found():
    trunk = nn.Sequential(conv(3, 2, 1), nn.BatchNorm2d(3)).train()
    before = trunk[1].running_mean.clone()
    CellGeometry.measured(trunk, (16, 16), samples=1)
    assert trunk.training
    assert trunk[1].training
    assert torch.equal(trunk[1].running_mean, before)
    assert all(p.grad is None for p in trunk.parameters())


# ---- pixels and cells ------------------------------------------------------------------------------------------


def test_half_pixel_is_the_formula():
    found = half_pixel((96, 224), (12, 7))
    assert found == CellGeometry((8, 32), (3.5, 15.5), (8, 32))
    for pixel in (-0.5, 0.0, 17.0, 95.5):
        row, _ = cell_of_pixel(pixel, 0, (96, 224), (12, 7))
        assert row == pytest.approx((pixel + 0.5) * 12 / 96 - 0.5)


def test_a_cells_own_pixel_leads_back_to_it():
    for place in (CellGeometry((32, 16), (0, 7.5), (99, 99)), half_pixel((224, 112), (7, 7))):
        for i in range(7):
            row, col = place.pixel_of_cell(i, 6 - i)
            assert cell_of_pixel(row, col, (224, 112), (7, 7), place) == (i, 6 - i)


def test_results_are_clipped_to_the_map():
    place = CellGeometry((32, 32), (0, 0), (99, 99))
    assert cell_of_pixel(223.5, -0.5, (224, 224), (7, 7), place) == (6.5, -0.5 / 32)
    assert cell_of_pixel(-0.5, 0, (224, 224), (7, 7), CellGeometry((8, 8), (31, 31), (9, 9)))[0] == -0.5


def test_arrays_come_back_as_arrays():
    rows, cols = cell_of_pixel(np.array([0, 31]), np.array([15.5, 47.5]), (224, 224), (7, 7))
    np.testing.assert_allclose(rows, [-0.484375, 0.484375])
    np.testing.assert_allclose(cols, [0, 1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((224, 0, (224, 224), (7, 7)), "row 224.0 lies outside the image: expected -0.5 <= row <= 223.5"),
        ((0, -0.6, (224, 224), (7, 7)), "column -0.6 lies outside"),
        ((float("nan"), 0, (224, 224), (7, 7)), "row nan lies outside"),
        ((0, 0, (0, 224), (7, 7)), r"image_size must be two positive numbers"),
        ((0, 0, (224, 224), (7,)), r"map_size must be two positive numbers"),
    ],
)
def test_points_outside_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        cell_of_pixel(*arguments)


@pytest.mark.parametrize(
    "bad", [{"stride": (0, 1)}, {"first": (0, float("nan"))}, {"receptive_field": (1, 2, 3)}]
)
def test_impossible_geometry_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CellGeometry(**({"stride": (1, 1), "first": (0, 0), "receptive_field": (1, 1)} | bad))
