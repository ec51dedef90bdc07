"""Preprocess: the same numbers as torchvision's transforms, and where every pixel went."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
import torchvision.transforms.v2 as v2
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torchvision import models
from torchvision import transforms as v1
from torchvision.transforms import InterpolationMode

from dmlviz.images import ImageSet, Preprocess
from dmlviz.images.placement import resized_size

RNG = np.random.default_rng(11)
SIZES = [(300, 401), (401, 300), (256, 256), (224, 224), (100, 97), (1, 1), (5, 40), (333, 227), (1, 3)]
WEIGHTS = [
    models.ResNet50_Weights.DEFAULT,
    models.ResNet18_Weights.IMAGENET1K_V1,
    models.EfficientNet_B0_Weights.DEFAULT,
    models.ConvNeXt_Tiny_Weights.DEFAULT,
    models.VGG16_Weights.IMAGENET1K_FEATURES,
    models.Swin_T_Weights.DEFAULT,
]


def picture(size):
    return RNG.integers(0, 256, (*size, 3), np.uint8)


def same_as_torchvision(preprocess, transforms, image, within=0.0):
    ours, theirs = preprocess(image), transforms(Image.fromarray(image)).numpy()
    assert ours.dtype == theirs.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=within)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_presets_of_torchvision_to_the_last_bit(weights):
    preprocess = Preprocess.from_torchvision(weights.transforms())
    for size in SIZES:
        same_as_torchvision(preprocess, weights.transforms(), picture(size))
    assert Preprocess.from_torchvision(weights.transforms) == preprocess  # not called
    assert Preprocess.from_torchvision(weights) == preprocess


MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)
NORMALIZE = v1.Normalize(MEAN, STD)
COMPOSED = {
    "classic": v1.Compose([v1.Resize(64), v1.CenterCrop(56), v1.ToTensor(), NORMALIZE]),
    "stretched": v1.Compose([v1.Resize((40, 60)), v1.ToTensor(), NORMALIZE]),
    "bicubic": v1.Compose([v1.Resize(48, InterpolationMode.BICUBIC), v1.CenterCrop((32, 50)), v1.ToTensor()]),
    "crop only": v1.Compose([v1.CenterCrop((31, 64)), v1.ToTensor(), NORMALIZE]),
    "crop late": v1.Compose([v1.Resize(64), v1.ToTensor(), v1.CenterCrop(71), NORMALIZE]),
    "as it is": v1.ToTensor(),
    "convert": v1.Compose(
        [v1.Resize([50]), v1.PILToTensor(), v1.ConvertImageDtype(torch.float32), NORMALIZE]
    ),
    "v2": v2.Compose([v2.Resize(50), v2.CenterCrop(40), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]),
    "0..255": v2.Compose(
        [v2.Resize(50), v2.PILToTensor(), v2.ToDtype(torch.float32), v2.Normalize([99.0] * 3, [7.0] * 3)]
    ),
    "nested": v1.Compose(
        [
            v1.Compose([v1.Resize(32, InterpolationMode.LANCZOS)]),
            nn.Sequential(v1.CenterCrop(32)),
            v1.ToTensor(),
        ]
    ),
    "nearest": v1.Compose([v1.Resize(33, InterpolationMode.NEAREST), v1.ToTensor()]),
    "nearest-exact": v1.Compose([v1.Resize((21, 34), InterpolationMode.NEAREST_EXACT), v1.ToTensor()]),
    "grey": v1.Compose(
        [v1.Grayscale(), v1.Resize(28), v1.CenterCrop(28), v1.ToTensor(), v1.Normalize((0.13,), (0.31,))]
    ),
}


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("size", [(90, 120), (61, 40), (64, 64), (1, 1), (7, 90)])
def test_composed_transforms_to_the_last_bit(name, size):
    within = 1e-7 if name == "v2" else 0.0  # v2 multiplies by a rounded 1/255 where v1 divides by 255
    same_as_torchvision(Preprocess.from_torchvision(COMPOSED[name]), COMPOSED[name], picture(size), within)


def test_transforms_on_tensors_differ_by_a_grey_level_at_most():
    on_tensor = v2.Compose(
        [v2.ToImage(), v2.Resize(40), v2.CenterCrop(32), v2.ToDtype(torch.float32, scale=True)]
    )
    image = picture((90, 120))
    theirs = on_tensor(Image.fromarray(image)).numpy()
    ours = Preprocess.from_torchvision(on_tensor)(image)
    assert np.abs(ours - theirs).max() <= 1.001 / 255


@pytest.mark.parametrize(
    ("transforms", "said"),
    [
        (
            [v1.Resize(8), v1.RandomHorizontalFlip(), v1.ToTensor()],
            "step RandomHorizontalFlip changes from call to call",
        ),
        (
            [v1.ToTensor(), v1.Lambda(abs)],
            r"step Lambda is not known here; expected the eval.*dmlviz\.Preprocess\(",
        ),
        ([v1.Pad(3), v1.ToTensor()], "step Pad is not known here"),
        ([v1.ToTensor(), v1.Resize(8)], "step Resize must come once, before CenterCrop and before"),
        ([v1.CenterCrop(8), v1.Resize(8), v1.ToTensor()], "step Resize must come once, before CenterCrop"),
        ([v1.Resize(8), v1.Resize(8), v1.ToTensor()], "step Resize must come once"),
        ([v1.Resize(8, max_size=9), v1.ToTensor()], "step Resize with max_size=9 is not known"),
        (
            [v1.PILToTensor(), v1.Resize(8, antialias=False), v1.ConvertImageDtype(torch.float32)],
            "antialias=False on a tensor",
        ),
        (
            [v1.Resize(8), v1.ToTensor(), NORMALIZE, v1.CenterCrop(4)],
            "step CenterCrop must come once, and before Normalize",
        ),
        ([v1.Resize(8)], r"never turn grey levels 0..255 into numbers 0..1; add ToTensor\(\)"),
        (
            [v1.PILToTensor(), v1.ConvertImageDtype(torch.float16)],
            "step ConvertImageDtype gives torch.float16",
        ),
        ([v1.ToTensor(), NORMALIZE, NORMALIZE], "step Normalize must come once, after"),
        (
            [v1.Grayscale(3), v1.ToTensor()],
            "step Grayscale is known with one output channel, as the first step",
        ),
        (models.optical_flow.Raft_Small_Weights.DEFAULT.transforms(), "step OpticalFlow is not known here"),
        (lambda picture: picture, "step function is not known here"),
    ],
)
def test_transforms_that_cannot_be_followed_are_refused_by_name(transforms, said):
    with pytest.raises(ValueError, match=said):
        Preprocess.from_torchvision(v1.Compose(transforms) if isinstance(transforms, list) else transforms)


# --- settings --------------------------------------------------------------------------------------


def test_size_follows_from_the_steps():
    assert Preprocess.stretch(96).size == (96, 96)
    assert Preprocess.stretch((96, 64)).resize == (96, 64)
    assert Preprocess.resize_crop(256, 224).size == (224, 224)
    assert Preprocess(size=(32, 48)) == Preprocess.stretch((32, 48))
    assert Preprocess(resize=64).size is None
    assert Preprocess.as_is().size is None
    assert Preprocess(size=(224, 224), resize=256, crop=224) == Preprocess.resize_crop(256, 224)
    assert Preprocess(mean=0.5, std=0.5).mean == (0.5, 0.5, 0.5)
    assert Preprocess(channels="L").mean == (0.449,)


@pytest.mark.parametrize(
    ("settings_", "said"),
    [
        (
            {"size": (9, 9), "crop": (8, 8)},
            r"size \(9, 9\) is not what these steps give.*gives \(8, 8\); leave size out",
        ),
        ({"size": (9, 9), "resize": 8}, r"gives None; leave size out"),
        ({"size": (0, 9)}, r"size is \(height, width\) in whole pixels of at least 1, got \(0, 9\)"),
        ({"crop": (1, 2, 3)}, r"crop is \(height, width\)"),
        ({"resize": 0}, "resize is the length of the shorter side, at least 1 pixel, got 0"),
        ({"interpolation": "cubic"}, r"interpolation is one of \('nearest', .*got 'cubic'"),
        ({"channels": "RGBA"}, r"channels is one of \('RGB', 'BGR', 'L'\), got 'RGBA'"),
        ({"std": (1, 0, 1)}, "std and scale divide, so they are not zero"),
        ({"scale": 0}, "std and scale divide, so they are not zero"),
        ({"mean": (1, 2)}, r"mean is one finite number per channel \(3\), got \(1, 2\)"),
        ({"mean": float("nan")}, "mean is one finite number per channel"),
    ],
)
def test_settings_that_make_no_sense(settings_, said):
    with pytest.raises(ValueError, match=said):
        Preprocess(**settings_)


def test_settings_are_frozen_and_travel_as_json():
    import json

    preprocess = Preprocess.resize_crop(72, (64, 48), interpolation="bicubic", channels="BGR")
    assert Preprocess(**json.loads(json.dumps(preprocess.to_dict()))) == preprocess
    assert hash(preprocess) == hash(Preprocess(**preprocess.to_dict()))
    with pytest.raises(FrozenInstanceError):
        preprocess.scale = 1.0


def test_it_says_what_it_does():
    assert Preprocess.stretch((96, 64)).note == "stretched to 96 × 64 (bilinear)"
    assert Preprocess.as_is().note == "as it is"
    assert Preprocess(crop=8).note == "middle 8 × 8 cut out"


# --- arithmetic by hand -----------------------------------------------------------------------------


def test_an_array_by_hand():
    view = np.array([[[255, 0, 51]]], np.uint8)
    rgb = Preprocess.as_is(mean=(0.5, 0.25, 0.2), std=(0.5, 0.25, 0.1))
    np.testing.assert_allclose(rgb(view)[:, 0, 0], [1.0, -1.0, 0.0], atol=1e-7)
    bgr = Preprocess.as_is(mean=(0.2, 0.25, 0.5), std=(0.1, 0.25, 0.5), channels="BGR")
    np.testing.assert_array_equal(bgr(view), rgb(view)[::-1])
    ink = Preprocess.as_is(mean=1.0, std=-1.0, channels="L")  # ink on paper: 1 − grey
    np.testing.assert_allclose(ink(np.full((2, 2), 51, np.uint8)), np.full((1, 2, 2), 0.8), atol=1e-7)
    raw = Preprocess.as_is(mean=0.0, std=1.0, scale=1.0)
    np.testing.assert_array_equal(raw(view)[:, 0, 0], [255.0, 0.0, 51.0])


def test_a_small_picture_is_padded_with_black():
    view = Preprocess(crop=(4, 5)).view(np.full((2, 2, 3), 9, np.uint8))
    expected = np.zeros((4, 5), np.uint8)
    expected[1:3, 1:3] = 9  # the odd column of black goes to the right
    np.testing.assert_array_equal(view[..., 0], expected)


def test_a_view_is_a_fresh_array():
    image = picture((8, 8))
    view = Preprocess.as_is().view(image)
    np.testing.assert_array_equal(view, image)
    assert not np.shares_memory(view, image)


def test_what_is_no_picture_is_refused():
    with pytest.raises(TypeError, match=r"expected uint8 values 0..255, got float32"):
        Preprocess.stretch(8).view(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match=r"view: expected shape \(H, W, 3\)"):
        Preprocess.stretch(8).array(np.zeros((3, 8, 8), np.uint8))


@pytest.mark.parametrize("size", [(2, 3000), (3000, 2), (3, 2000)])
def test_a_long_thin_picture_is_not_made_whole(monkeypatch, size):
    image, preprocess = picture(size), Preprocess.resize_crop(32, 28)
    whole = preprocess.view(image)
    monkeypatch.setattr("dmlviz.images.preprocess._WHOLE_AT_MOST", 100)
    part = preprocess.view(image)
    assert (
        np.abs(part.astype(int) - whole).max() <= 1
    )  # Pillow keeps the corners of a part in single precision


def test_a_picture_of_one_by_fifty_thousand():
    view = Preprocess.resize_crop(256, 224).view(picture((1, 50_000)))
    assert view.shape == (224, 224, 3)


# --- where pixels went --------------------------------------------------------------------------------

KINDS = [
    Preprocess.stretch((60, 90)),
    Preprocess.resize_crop(64, 48),
    Preprocess.resize_crop(64, (80, 40)),
    Preprocess(resize=50),
    Preprocess(crop=(33, 200)),
    Preprocess.as_is(),
]


@pytest.mark.parametrize("preprocess", KINDS, ids=lambda p: p.note)
@pytest.mark.parametrize("size", [(120, 161), (100, 100), (40, 30)])
def test_a_ramp_is_carried_where_the_map_says(preprocess, size):
    # red grows along the rows and green along the columns: the view's values tell where they came from
    rows, cols = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    steps = (250 / (size[0] - 1), 250 / (size[1] - 1))
    image = np.stack([rows * steps[0], cols * steps[1], np.full(size, 255)], -1).round().astype(np.uint8)
    view = preprocess.view(image).astype(float)
    seen = view[..., 2] == 255  # not the black padding
    tried = 0
    for row in range(0, view.shape[0], 3):
        for col in range(0, view.shape[1], 3):
            from_row, from_col = preprocess.pixel_of_view(row, col, size)
            margin = 3  # filters are cut off at the borders
            inside = margin <= from_row < size[0] - margin and margin <= from_col < size[1] - margin
            outside = not (-0.5 <= from_row <= size[0] - 0.5 and -0.5 <= from_col <= size[1] - 0.5)
            assert seen[row, col] or outside
            assert not (seen[row, col] and outside)
            if inside:
                tried += 1
                assert abs(view[row, col, 0] - from_row * steps[0]) <= 1.2
                assert abs(view[row, col, 1] - from_col * steps[1]) <= 1.2
    assert tried > 20


@settings(deadline=None, max_examples=50)
@given(
    which=st.integers(0, len(KINDS) - 1),
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    point=st.tuples(st.floats(-0.5, 500), st.floats(-0.5, 500)),
)
def test_the_two_maps_undo_each_other(which, size, point):
    preprocess = KINDS[which]
    there = preprocess.view_of_pixel(*point, size)
    np.testing.assert_allclose(preprocess.pixel_of_view(*there, size), point, atol=1e-6)
    place = preprocess.placement(size)
    assert place.view == preprocess.view(np.zeros((*size, 3), np.uint8)).shape[:2]


def test_maps_by_hand():
    # 4 × 8 pixels halved to 2 × 4: centre of view pixel 0 lies between pixels 0 and 1
    assert Preprocess.stretch((2, 4)).pixel_of_view(0, 0, (4, 8)) == (0.5, 0.5)
    assert Preprocess.stretch((2, 4)).view_of_pixel(3.5, 7.5, (4, 8)) == (1.5, 3.5)  # the far edges
    # shorter side 4 to 2, then the middle 2 × 2 of 2 × 4: one column cut off on the left
    assert Preprocess.resize_crop(2, 2).pixel_of_view(0, 0, (4, 8)) == (0.5, 2.5)
    # padded by one row above and one column on the left
    assert Preprocess(crop=(4, 4)).view_of_pixel(0, 0, (2, 2)) == (1.0, 1.0)


@settings(deadline=None, max_examples=50)
@given(size=st.tuples(st.integers(1, 90), st.integers(1, 90)), short=st.integers(1, 70))
def test_resized_sizes_are_torchvisions(size, short):
    theirs = v1.Resize(short)(Image.new("L", size[::-1])).size[::-1]
    assert resized_size(size, short) == theirs


def test_preprocess_over_a_set():
    images = ImageSet.from_arrays([picture((10, 20)), picture((9, 9))])
    batch = np.stack([Preprocess.stretch(16)(image) for image in images])
    assert batch.shape == (2, 3, 16, 16)
