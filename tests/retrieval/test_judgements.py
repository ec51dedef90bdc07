"""`Judgements`: read from mappings, JSON and Oxford's files, and found again in image sets by name."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from fake_gallery import FakeEmbedder
from hypothesis import given, settings
from hypothesis import strategies as st

from dmlviz.images import ImageSet
from dmlviz.retrieval import Gallery, Judgements


def named(*names):
    return ImageSet.from_arrays([np.zeros((2, 2, 3), np.uint8)] * len(names), names=list(names))


def write_oxford(folder, query, picture, good, ok, junk, box="136.5 34.1 648.5 955.7"):
    (folder / f"{query}_query.txt").write_text(f"{picture} {box}\n")
    for kind, names in (("good", good), ("ok", ok), ("junk", junk)):
        (folder / f"{query}_{kind}.txt").write_text("".join(f"{name}\n" for name in names))


def test_oxfords_own_files(tmp_path):
    write_oxford(tmp_path, "hall_1", "oxc1_hall_000013", ["hall_000013", "hall_000026"], ["hall_000040"], [])
    write_oxford(tmp_path, "tower_2", "tower_000002", ["tower_000002"], [], ["hall_000026"], "0 0 10 20")
    (tmp_path / "readme.txt").write_text("not a list")
    judgements = Judgements.from_oxford(tmp_path)
    assert list(judgements.lists) == ["hall_1", "tower_2"]
    assert judgements.lists["hall_1"] == {
        "good": ("hall_000013", "hall_000026"),
        "ok": ("hall_000040",),
        "junk": (),
    }
    assert judgements.pictures == {"hall_1": "hall_000013", "tower_2": "tower_000002"}
    assert judgements.boxes["hall_1"] == (136.5, 34.1, 648.5, 955.7)
    assert repr(judgements) == f"Judgements of 2 queries, lists good, ok, junk, from {tmp_path.name}"
    images = named("b/hall_000026.jpg", "hall_000040.jpg", "hall_000013.jpg", "tower_000002.jpg", "other.jpg")
    # Cut-outs that are called as the queries, and pictures that are called as the pictures.
    for queries in (named("tower_2", "hall_1"), named("tower_000002.jpg", "hall_000013.jpg")):
        found = judgements.ids(queries, images)
        assert list(found) == [0, 1]
        assert {kind: ids.tolist() for kind, ids in found[1].items()} == {
            "good": [0, 2],
            "ok": [1],
            "junk": [],
        }
        assert found[0]["junk"].tolist() == [0]
        assert found[0]["junk"].dtype == np.int64


def test_through_a_gallery(tmp_path):
    write_oxford(tmp_path, "hall_1", "oxc1_hall_0", ["hall_0", "hall_1"], ["hall_3"], ["hall_2"])
    degrees = np.deg2rad([0, 10, 20, 30, 40])
    embedder = FakeEmbedder()
    embedder.dim = 2
    images = named(*(f"hall/hall_{i}.jpg" for i in range(5)))
    gallery = Gallery(images, embedder, np.stack([np.cos(degrees), np.sin(degrees)], axis=1))
    result = gallery.evaluate(protocol="oxford5k", judgements=Judgements.from_oxford(tmp_path))
    assert result.values["mAP"] == 1.0  # 0, 1, and 3 once 2 is removed
    assert result.per_query["relevant"].tolist() == [3]
    assert result.query_ids.tolist() == [0]


GND = {
    "imlist": ["a1", "a2", "b1", "b2"],
    "qimlist": ["qa", "qb"],
    "gnd": [
        {"bbx": [1.0, 2.0, 30.0, 40.0], "easy": [0], "hard": [1], "junk": [3]},
        {"bbx": [0, 0, 9, 9], "easy": [], "hard": [2], "junk": []},
    ],
}


def test_what_the_revisited_pickle_holds(tmp_path):
    pickled = {**GND, "gnd": [{k: np.array(v) for k, v in entry.items()} for entry in GND["gnd"]]}
    path = tmp_path / "gnd_roxford5k.pkl"
    path.write_bytes(pickle.dumps(pickled))
    disguised = tmp_path / "gnd.json"
    disguised.write_bytes(path.read_bytes())
    for refused in (path, disguised):
        with pytest.raises(
            ValueError, match=r"is a pickle; a pickle can run any program .* turn it into JSON"
        ) as told:
            Judgements.from_json(refused)
    # The two lines that it tells do what they say.
    lines = [line.strip() for line in str(told.value).splitlines() if line.startswith("    ")]
    assert len(lines) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        scope = {"pickle": pickle, "json": json, "Path": Path}
        for line in lines:
            exec(line, scope)
    judgements = Judgements.from_json(tmp_path / "gnd_roxford5k.json")
    assert judgements.lists["qa"] == {"easy": ("a1",), "hard": ("a2",), "junk": ("b2",)}
    assert judgements.lists["qb"] == {"easy": (), "hard": ("b1",), "junk": ()}
    assert judgements.boxes == {"qa": (1.0, 2.0, 30.0, 40.0), "qb": (0.0, 0.0, 9.0, 9.0)}
    found = judgements.ids(named("qb.jpg", "qa.jpg"), named("b2.jpg", "b1.jpg", "a1.jpg", "a2.jpg"))
    assert {kind: ids.tolist() for kind, ids in found[1].items()} == {"easy": [2], "hard": [3], "junk": [0]}


def test_plain_json(tmp_path):
    path = tmp_path / "lists.json"
    path.write_text(json.dumps({"q": {"good": ["a", "a"], "ok": [], "junk": ["b"]}}))
    assert Judgements.from_json(path).lists["q"]["good"] == ("a",)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", ValueError, "is no JSON"),
        ("[1]", ValueError, "must hold an object with one entry per query, got list"),
        ("{}", ValueError, "there is no query in the judgements"),
        ('{"q": [1]}', TypeError, "must have its lists by name"),
        ('{"q": {"fine": []}}', ValueError, "has a list 'fine'; lists are called good, ok, easy, hard, junk"),
        ('{"q": {"good": "ab"}}', TypeError, "must hold names or ids, got 'ab'"),
        ('{"q": {"good": [1.5]}}', TypeError, "an image is judged by its name or its id, got 1.5"),
        ('{"q": {"good": [true]}}', TypeError, "by its name or its id, got True"),
        ('{"q": {"good": ["a"], "junk": ["a"]}}', ValueError, "'a' is on two lists, 'good' and 'junk'"),
        (json.dumps({"gnd": []}), ValueError, "must hold lists imlist, qimlist and gnd"),
        (json.dumps({**GND, "qimlist": ["qa"]}), ValueError, "the last two of one length"),
        (json.dumps({**GND, "qimlist": ["qa", "qa"]}), ValueError, "a query comes twice in qimlist"),
        (json.dumps({**GND, "qimlist": ["qa", [1]]}), ValueError, r"qimlist must hold names, got \[1\]"),
        (
            json.dumps({**GND, "imlist": ["a1"]}),
            ValueError,
            "'qa' judges image 1; imlist has the places 0 to 0",
        ),
        (json.dumps({**GND, "gnd": [{"ok": []}] * 2}), ValueError, "lacks one of the lists easy, hard, junk"),
    ],
)
def test_refuses_json(tmp_path, text, error, words):
    path = tmp_path / "lists.json"
    path.write_text(text)
    with pytest.raises(error, match=words):
        Judgements.from_json(path)


@pytest.fixture(scope="module")
def one_file(tmp_path_factory):
    return tmp_path_factory.mktemp("lists") / "lists.json"


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-3, 9) | st.floats(allow_nan=False) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["gnd", "imlist", "qimlist", "easy", "hard", "junk", "bbx", "q"]),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_refused_in_words(one_file, held):
    one_file.write_text(json.dumps(held))
    try:
        judgements = Judgements.from_json(one_file)
    except (ValueError, TypeError) as error:
        said = str(error)
    else:
        said = repr(judgements)
    assert any(
        word in said for word in ("Judgements of", "must", "has", "judge", "lacks", "on two lists", "query")
    )


def test_refuses_oxfords_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Judgements.from_oxford(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"holds no file called ..._query.txt"):
        Judgements.from_oxford(tmp_path)
    write_oxford(tmp_path, "hall_1", "hall", ["a"], [], [])
    (tmp_path / "hall_1_ok.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"hall_1_ok.txt is missing .* good, ok, junk"):
        Judgements.from_oxford(tmp_path)
    for line in ("hall 1 2 3", "hall 1 2 3 x", ""):
        (tmp_path / "hall_1_query.txt").write_text(line)
        with pytest.raises(ValueError, match="must hold a picture's name and four numbers"):
            Judgements.from_oxford(tmp_path)


def test_what_is_not_there():
    judgements = Judgements.from_mapping({"q": {"easy": ["a", "lost"], "hard": [7], "junk": []}})
    images = named("a.jpg", "b.jpg")
    with pytest.raises(
        ValueError, match=r"1 of the 1 judged queries are not among the 2 queries .* first is 'q'"
    ):
        judgements.ids(images, images)
    with pytest.raises(
        ValueError, match=r"2 of the judged images are not among the 2 images .* first is 'lost'; if"
    ):
        judgements.ids(named("q"), images)
    found = judgements.within(images).ids(named("q"), images)
    assert {kind: ids.tolist() for kind, ids in found[0].items()} == {"easy": [0], "hard": [], "junk": []}
    assert judgements.lists["q"]["easy"] == ("a", "lost")  # left as it was


def test_names_that_several_share():
    judgements = Judgements.from_mapping({0: {"easy": ["a"], "hard": [], "junk": []}})
    with pytest.raises(
        ValueError, match="2 of the images are called 'a', ids 0 and 2 among them; judge by ids"
    ):
        judgements.ids(named("q"), named("x/a.jpg", "b.jpg", "y/a.jpg"))
    whole = Judgements.from_mapping({0: {"easy": ["y/a.jpg"], "hard": ["b.png"], "junk": []}})
    found = whole.ids(named("q"), named("x/a.jpg", "b.jpg", "y/a.jpg"))
    assert found[0]["easy"].tolist() == [2]
    assert found[0]["hard"].tolist() == [1]  # whatever the ending
    with pytest.raises(ValueError, match="1 of the judged images are not among"):
        whole.ids(named("q"), named("z/a.jpg", "b.jpg"))  # a folder that is named must be the right one
    twice = Judgements.from_mapping({0: {"easy": []}, "q": {"easy": []}})
    with pytest.raises(ValueError, match="two judged queries are one image: 'q' is asked twice"):
        twice.ids(named("q"), named("a"))


def test_frozen():
    judgements = Judgements.from_mapping({0: {"easy": [1]}})
    with pytest.raises(TypeError):
        judgements.lists[0] = {}
    with pytest.raises(TypeError):
        judgements.lists[0]["easy"] = ()
    with pytest.raises(TypeError, match="judgements must map queries to their lists, got list"):
        Judgements.from_mapping([1])
