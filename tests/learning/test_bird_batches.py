import numpy as np
import pytest

from dmlviz.images.bird_species import split_of
from dmlviz.learning import BirdBatches


@pytest.fixture(scope="module")
def batches() -> BirdBatches:
    return BirdBatches.of(families=12, seed=5, classes=8, per_class=3)


def test_a_batch_is_a_function_of_the_seed_and_its_number(batches):
    images, labels = batches.batch(4)
    assert images.shape == (24, 96, 96, 3)
    assert images.dtype == np.uint8
    again, same = BirdBatches.of(families=12, seed=5, classes=8, per_class=3).batch(4)
    assert np.array_equal(images, again)
    assert np.array_equal(labels, same)
    assert not np.array_equal(batches.batch(5)[0], images)
    assert not np.array_equal(BirdBatches.of(12, 6, 8, 3).batch(4)[0], images)


def test_every_class_comes_as_often_as_told(batches):
    for number in range(6):
        _, labels = batches.batch(number)
        classes, counts = np.unique(labels, return_counts=True)
        assert len(classes) == 8
        assert set(counts.tolist()) == {3}


def test_half_the_batches_are_made_of_siblings_and_later_nine_in_ten(batches):
    def share(numbers):
        made = [[family for family, _ in batches._classes_of(number)] for number in numbers]
        return np.mean([np.unique(families, return_counts=True)[1].tolist() == [4, 4] for families in made])

    assert 0.4 < share(range(200)) < 0.6
    assert 0.4 < share(range(400, batches.harder_from)) < 0.6
    assert 0.84 < share(range(batches.harder_from, 800)) < 0.96


def test_all_families_and_members_are_used(batches):
    met = {pair for number in range(200) for pair in batches._classes_of(number)}
    assert met == {(family, member) for family in range(12) for member in range(6)}


def test_training_never_sees_a_test_species(batches):
    assert {split_of(member) for family in batches.families for member in family.members} == {"train"}


def test_a_quarter_of_the_images_lose_a_part(monkeypatch, batches):
    import dmlviz.learning.bird_batches as module

    scenes = []
    real = module.draw_picture
    monkeypatch.setattr(module, "draw_picture", lambda scene, size: scenes.append(scene) or real(scene, 24))
    for number in range(12):
        batches.batch(number)
    lost = [len(scene.removed) for scene in scenes]
    assert set(lost) == {0, 1}
    assert 0.17 < np.mean(lost) < 0.33
    assert len({part for scene in scenes for part in scene.removed}) == 5
