import numpy as np
import pytest
import torch

from dmlviz.embedder import BirdNet, CellGeometry
from dmlviz.embedder.birdnet import (
    CELL_STRIDE,
    FIRST_CELL,
    RECEPTIVE_FIELD,
    fold_batch_norms,
    images_to_input,
)
from dmlviz.images import Preprocess, birds


def lived_in(pooling: str, seed: int = 0) -> BirdNet:
    """An unfolded network whose batch normalisations have statistics and gains of their own."""
    torch.manual_seed(seed)
    net = BirdNet(pooling)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.2, 3.0)
            torch.nn.init.normal_(module.weight, 1.0, 0.3)
            torch.nn.init.normal_(module.bias, 0.1, 0.3)
    return net.eval()


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_folding_changes_nothing(pooling):
    net = lived_in(pooling)
    images = torch.randn(3, 3, 96, 96)
    with torch.no_grad():
        expected = net.double()(images.double())
        got = fold_batch_norms(lived_in(pooling))(images)
    assert torch.allclose(got.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert got.abs().max() > 0


def test_folding_leaves_the_network_as_it_is():
    net = lived_in("avg")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    folded = fold_batch_norms(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


def test_only_an_unfolded_network_can_be_folded():
    with pytest.raises(ValueError, match="it is folded already"):
        fold_batch_norms(BirdNet(folded=True))


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="'avg' or 'max'; got 'gem'"):
        BirdNet("gem")


def test_cells_lie_where_the_constants_say():
    trunk = BirdNet(folded=True).trunk.eval()
    assert trunk(torch.zeros(1, 3, 96, 96)).shape == (1, 128, 12, 12)
    geometry = CellGeometry.from_trunk(trunk, (96, 96))
    assert geometry.stride == (CELL_STRIDE, CELL_STRIDE)
    assert geometry.first == (FIRST_CELL, FIRST_CELL)
    assert geometry.receptive_field == (RECEPTIVE_FIELD, RECEPTIVE_FIELD)


def test_a_cell_sees_thirty_pixels_round_its_centre():
    torch.manual_seed(1)
    trunk = BirdNet(folded=True).trunk.eval()
    for module in trunk.modules():  # with positive kernels no rectifier hides a pixel
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.abs_()
            module.bias.data.zero_()
    image = torch.ones(1, 3, 96, 96, requires_grad=True)
    trunk(image)[0, :, 6, 4].sum().backward()
    seen = image.grad[0].abs().sum(0) > 0
    rows, cols = torch.nonzero(seen.any(1)).ravel(), torch.nonzero(seen.any(0)).ravel()
    assert (len(rows), len(cols)) == (30, 30)
    assert float(rows.float().mean()) == 3.5 + 8 * 6
    assert float(cols.float().mean()) == 3.5 + 8 * 4


def test_training_and_use_prepare_images_alike():
    images = np.stack(list(birds(1, 1)))[:2]
    prepared = Preprocess.stretch((96, 96), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    for image, trained_on in zip(images, images_to_input(images), strict=True):
        assert np.allclose(prepared(image), trained_on.numpy(), atol=1e-6)
