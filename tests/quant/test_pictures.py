"""Folders and arrays of pictures: which there are, their labels, and what is refused."""

import re
import shutil

import numpy as np
from PIL import Image
import pytest

from quant.pictures import open_pictures, split
from quant.prepare import Preparation
from spec.errors import AlloyError
from tests.user import pixels

HOW = Preparation(size=(8, 8))


def put(folder, name, label=0, seed=0):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(label, seed)).save(folder / name)


def refused(words, *arguments):
    with pytest.raises(AlloyError, match=re.escape(words)) as error:
        open_pictures(*arguments).codes()
    assert "\n" not in str(error.value)


def test_sub_folders_are_classes(tmp_path):
    """In the order of their names, at any depth; what is hidden or no picture is left out."""
    for name in ("b/1.JPG", "b/deep/er/2.png", "a/3.jpeg", "c c/4.png", ".hidden/5.png", "a/.6.png", "__MACOSX/7.png"):
        put(tmp_path, name)
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    found = open_pictures(tmp_path, HOW)
    assert list(found.names) == ["a/3.jpeg", "b/1.JPG", "b/deep/er/2.png", "c c/4.png"]
    assert found.labels.tolist() == [0, 1, 1, 2] and found.classes == ("a", "b", "c c")
    assert found.codes().shape == (4, 3, 8, 8) and found.codes().dtype == np.uint8


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["x/1.png", "x/2.png"], ["1.png", "x/2.png", "y/3.png"]])
def test_no_labels(tmp_path, names):
    for name in names:
        put(tmp_path, name)
    found = open_pictures(tmp_path, HOW)
    assert found.labels is None and len(found) == len(names)


def test_a_link_to_a_folder(tmp_path):
    put(tmp_path / "far", "1.png")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "x").symlink_to(tmp_path / "far")
    assert list(open_pictures(tmp_path / "near", HOW).names) == ["x/1.png"]


def test_a_table_of_labels(tmp_path):
    for name in ("1.png", "b/2.png", "3.png"):
        put(tmp_path / "p", name, seed=int(name[-5]))
    table = tmp_path / "labels.csv"
    table.write_text("\ufefflabel,other,file\n7,x,1.png\n2,,./b/2.png\n", encoding="utf-8")
    found = open_pictures(tmp_path / "p", HOW, table)
    assert list(found.names) == ["1.png", "b/2.png"] and found.labels.tolist() == [7, 2] and found.classes == ()
    assert (found.codes()[1] == HOW.decode(tmp_path / "p" / "b" / "2.png")).all()
    table.write_text("file,label\n1.png,dog\nb/2.png,cat\n3.png,dog\n")
    found = open_pictures(tmp_path / "p", HOW, table)
    assert found.classes == ("cat", "dog") and dict(zip(found.names, found.labels, strict=True)) == {
        "1.png": 1, "3.png": 1, "b/2.png": 0}


@pytest.mark.parametrize("text, words", [
    ("", "has the columns of nothing"), ("name,label\n1.png,1\n", "has the columns name, label: give one row of names"),
    ("file,label\n", "has the columns file,label"), ("file,label\n9.png,1\n", "line 2: there is no JPEG or PNG file "
     "'9.png'"), ("file,label\n1.png\n", "line 2: 1.png has no label"),
    ("file,label\n1.png,3\n1.png,4\n", "line 3: 1.png has the labels 3 and 4"), (b"\xff\xfe\x00", "is no CSV text")])
def test_tables_that_are_refused(tmp_path, text, words):
    put(tmp_path / "p", "1.png")
    (tmp_path / "l.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(words, tmp_path / "p", HOW, tmp_path / "l.csv")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("first", [True, False])
def test_arrays(tmp_path, channels, first):
    """(N, H, W, C) and (N, C, H, W), told apart by the channels of the model."""
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, channels), np.uint8)
    stored = images.transpose(0, 3, 1, 2) if first else images
    np.savez(tmp_path / "x.npz", images=stored, labels=np.arange(5))
    found = open_pictures(tmp_path / "x.npz", Preparation(channels=channels))
    assert (found.codes() == images.transpose(0, 3, 1, 2)).all() and found.labels.tolist() == [0, 1, 2, 3, 4]


def test_gray_arrays_and_odd_sizes(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 5, 6), np.uint8))
    found = open_pictures(tmp_path / "x.npz", Preparation(channels=1))
    assert found.codes().shape == (2, 1, 5, 6) and found.labels is None
    assert open_pictures(tmp_path / "x.npz", HOW).codes().shape == (2, 3, 8, 8)
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 3, 9, 4), np.uint8))      # also 4 channels of 3x9
    assert open_pictures(tmp_path / "x.npz", Preparation()).codes().shape == (2, 3, 9, 4)
    assert open_pictures(tmp_path / "x.npz", Preparation(channels=4)).codes().shape == (2, 4, 3, 9)


@pytest.mark.parametrize("arrays, words", [
    ({"images": np.zeros((2, 3, 4, 4), np.float32)}, "its images are float32 of shape (2, 3, 4, 4): give pixels uint8"),
    ({"images": np.zeros((2, 4), np.uint8)}, "of shape (2, 4)"),
    ({"images": np.zeros((0, 3, 4, 4), np.uint8)}, "of shape (0, 3, 4, 4)"),
    ({"images": np.zeros((2, 7, 8, 9), np.uint8)}, "none of it is the 3 channels of the model"),
    ({"images": np.zeros((2, 4, 4, 3), np.uint8), "labels": np.zeros(3, int)}, "its labels are int64 of shape (3,)"),
    ({"x": np.zeros(3)}, "holds no images")])
def test_arrays_that_are_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "x.npz", **arrays)
    refused(words, tmp_path / "x.npz", HOW)


def test_places_without_pictures(tmp_path):
    refused("there are no images", tmp_path / "none", HOW)
    (tmp_path / "p").mkdir()
    refused("there is no JPEG or PNG file in", tmp_path / "p", HOW)
    (tmp_path / "p" / "x.gif").write_bytes(b"GIF89a")
    refused("it has x.gif (a GIF image)", tmp_path / "p", HOW)
    refused("x.gif is a GIF image: give a folder", tmp_path / "p" / "x.gif", HOW)
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    refused("is for a folder of pictures: put labels into", tmp_path / "x.npz", HOW, "l.csv")


def test_broken_pictures_are_named(tmp_path):
    for index in range(8):
        put(tmp_path, f"{index}.png")
    for index in (2, 3, 5, 6):
        (tmp_path / f"{index}.png").write_text("no")
    refused(f"4 of 8 pictures of {tmp_path} cannot be read: {tmp_path}/2.png (it is text); ", tmp_path, HOW)
    refused("; and 1 more: remove them", tmp_path, HOW)


def test_pictures_of_several_sizes(tmp_path):
    put(tmp_path, "1.png")
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(tmp_path / "2.png")
    refused("have different sizes (12x14 and, 2.png, 5x6): give --size", tmp_path, Preparation())


def test_only_what_is_asked_for_is_read(tmp_path):
    """Memory and time are those of a batch."""
    for index in range(9):
        put(tmp_path, f"{index}.png", seed=index)
    found, read = open_pictures(tmp_path, HOW), []
    counted = found.__class__(found.path, found.names, lambda index: (read.append(index), found.read(index))[1])
    batches = counted.some([8, 1, 4, 0, 7]).batches(2)
    assert next(batches).shape[0] == 2 and read == [8, 1]
    assert [len(batch) for batch in batches] == [2, 1] and read == [8, 1, 4, 0, 7]
    shutil.rmtree(tmp_path)
    assert len(found) == 9


@pytest.mark.parametrize("count, wanted, test, sizes", [
    (40, 256, 500, (20, 20)), (40, 10, 0, (10, 30)), (40, 10, 7, (10, 7)), (3, 256, 500, (1, 2)), (2, 1, 1, (1, 1))])
def test_split(tmp_path, count, wanted, test, sizes):
    """No picture is in both parts, labels go with them, and the seed decides."""
    np.savez(tmp_path / "x.npz", images=np.zeros((count, 2, 2, 3), np.uint8), labels=np.arange(count))
    whole = open_pictures(tmp_path / "x.npz", Preparation())
    first, second = split(whole, wanted, test, 3)
    assert (len(first), len(second)) == sizes and not set(first.labels) & set(second.labels)
    again = split(whole, wanted, test, 3)
    assert (again[0].labels == first.labels).all() and (again[1].labels == second.labels).all()
    if count > 3:
        assert (split(whole, wanted, test, 4)[0].labels != first.labels).any()


def test_one_picture_cannot_be_split(tmp_path):
    put(tmp_path, "1.png")
    with pytest.raises(AlloyError, match="has one picture: give at least two"):
        split(open_pictures(tmp_path, HOW), 1, 1, 0)
