"""Picture files to codes, as the usual evaluation of a classifier does it.

Kind: an image that the network sees otherwise than in training costs accuracy without a word.
"""

from types import SimpleNamespace

import numpy as np
from PIL import Image
import pytest

from quant.prepare import IMAGENET, Preparation, _coloured, from_transform, parse_numbers, parse_size
from spec.errors import AlloyError

GRAY = np.random.default_rng(0).integers(0, 256, (7, 10), np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (7, 10, 3), np.uint8)


def saved(tmp_path, array, name="x.png", mode=None, **options):
    picture = Image.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("channels, mode", [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
@pytest.mark.parametrize("array, source", [
    (GRAY, None), (RGB, None), (RGB, "RGBA"), (GRAY, "LA"), (RGB, "P"), (GRAY > 99, None)])
def test_channels(tmp_path, channels, mode, array, source):
    """What Pillow itself makes of it."""
    path = saved(tmp_path, array, mode=source)
    expected = np.asarray(Image.open(path).convert(mode), np.uint8)
    got = Preparation(channels=channels).decode(path)
    assert got.dtype == np.uint8 and (got == np.atleast_3d(expected).transpose(2, 0, 1)).all()
    assert got.flags.c_contiguous


def test_sixteen_bits(tmp_path):
    """The upper eight, also where Pillow would cut off at 255."""
    path = saved(tmp_path, GRAY.astype(np.uint16) * 256 + 77)
    assert (Preparation(channels=1).decode(path)[0] == GRAY).all()
    assert (Preparation(channels=3).decode(path) == GRAY).all()


def test_dark_pictures_of_sixteen_bits():
    """What is no more than 255 there is as good as black; in Pillow's 32-bit mode it may be a picture of 8 bits."""
    dark = np.full((4, 5), 200)
    assert not np.asarray(_coloured(Image.fromarray(dark.astype(np.uint16)), "L")).any()
    assert (np.asarray(_coloured(Image.fromarray(dark.astype(np.int32)), "L")) == 200).all()
    dark[0, 0] = 256
    assert np.asarray(_coloured(Image.fromarray(dark.astype(np.int32)), "L")).sum() == 1


def test_transparent_palette(tmp_path):
    path = saved(tmp_path, RGB, mode="P", transparency=3)
    assert Preparation(channels=4).decode(path).shape == (4, 7, 10)
    assert Preparation(channels=3).decode(path).shape == (3, 7, 10)


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation(tmp_path, value):
    """A camera's orientation is undone."""
    exif = Image.Exif()
    exif[0x0112] = value
    got = Preparation(channels=1).decode(saved(tmp_path, GRAY, exif=exif))[0]
    turn = [lambda x: x, np.fliplr, lambda x: np.rot90(x, 2), np.flipud, np.transpose, lambda x: np.rot90(x, -1),
            lambda x: np.rot90(x.T, 2), np.rot90][value - 1]
    assert (got == turn(GRAY)).all()


@pytest.mark.parametrize("how, size, left, top", [
    ({"size": (7, 10)}, (10, 7), 0, 0), ({"size": (4, 9)}, (9, 4), 0, 0), ({"size": (14, 3)}, (3, 14), 0, 0),
    ({"size": (5, 5), "resize": 6}, (8, 6), 2, 0), ({"size": (5, 4), "crop": True}, (7, 5), 2, 0),
    ({"size": (3, 9), "crop": True}, (9, 6), 0, 2), ({"size": (21, 30), "crop": True}, (30, 21), 0, 0)])
def test_sizes(how, size, left, top):
    """(size after scaling, place of what is cut out) worked out by hand from 10x7."""
    rows, cols = how["size"]
    scaled = np.asarray(Image.fromarray(RGB).resize(size, Image.Resampling.BILINEAR)) if size != (10, 7) else RGB
    expected = scaled[top:top + rows, left:left + cols].transpose(2, 0, 1)
    assert (Preparation(**how).array(RGB) == expected).all()


def test_interpolation():
    got = Preparation(size=(3, 3), way="bicubic").array(RGB)
    assert (got.transpose(1, 2, 0) == np.asarray(Image.fromarray(RGB).resize((3, 3), Image.Resampling.BICUBIC))).all()


def test_arrays_of_other_channels():
    assert (Preparation(channels=3).array(GRAY[..., None]) == GRAY).all()
    assert Preparation(channels=1).array(RGB).shape == (1, 7, 10)
    with pytest.raises(AlloyError, match="a picture of 5 channels: the model reads 3"):
        Preparation().array(np.zeros((4, 4, 5), np.uint8))


@pytest.mark.parametrize("options, words", [
    ({"channels": 5}, "the model reads 5 channels and a picture file has 1 to 4"),
    ({"crop": True}, "--crop cuts out the centre and nothing says of what size"),
    ({"size": (8, 9), "resize": 7}, "--resize 7 is less than what is cut out, 8x9"),
    ({"way": "best"}, "no interpolation 'best': choose nearest")])
def test_preparations_that_make_no_sense(options, words):
    with pytest.raises(AlloyError, match=words):
        Preparation(**options)


@pytest.mark.parametrize("data, words", [
    (b"hello", "it is text"), (b"", "it is an empty file"), (b"\x89PNG\r\n\x1a\n123", "truncated or damaged, a PNG"),
    (b"GIF8xxxxxx", "it is a GIF image"), (None, "cannot be opened")])
def test_broken_files(tmp_path, data, words):
    path = tmp_path / "x.png"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(AlloyError, match=words) as error:
        Preparation().decode(path)
    assert str(path) in str(error.value)


def test_truncated_pictures(tmp_path):
    for name in ("x.png", "x.jpg"):
        path = saved(tmp_path, RGB, name)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(AlloyError, match="truncated or damaged"):
            Preparation().decode(path)


class Weights:
    """As torchvision's enumerations of weights are: ``transforms`` makes the preset."""

    def __init__(self, **values):
        self.transforms = lambda: SimpleNamespace(**values)


def test_transforms_of_torchvision():
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    fields, normal = from_transform(Weights(crop_size=[224], resize_size=[232], mean=mean, std=std,
                                            interpolation=SimpleNamespace(value="bicubic")), "w")
    assert fields == {"size": (224, 224), "resize": 232, "crop": True, "way": "bicubic"}
    assert normal == {"mean": tuple(mean), "std": tuple(std)}
    fields, _ = from_transform(SimpleNamespace(crop_size=[8, 9], resize_size=None, mean=mean, std=std), "w")
    assert fields == {"size": (8, 9), "resize": None, "crop": True, "way": "bilinear"}
    for found in (SimpleNamespace(mean=mean), 3, Weights(crop_size=3, mean=mean, std=std)):
        with pytest.raises(AlloyError, match="w says neither size nor mean and std"):
            from_transform(found, "w")


def test_words_of_the_command_line():
    assert parse_size("224") == (224, 224) and parse_size("240x320") == (240, 320)
    assert parse_numbers("mean", "imagenet") == IMAGENET["mean"] and parse_numbers("std", "0.5") == (0.5,)
    assert parse_numbers("std", "0.5, 0.25,1") == (0.5, 0.25, 1.0)
    for text in ("", "0", "x", "3x", "2x3x4", "-1", "1.5"):
        with pytest.raises(AlloyError, match="is no number and no HEIGHTxWIDTH"):
            parse_size(text)
    with pytest.raises(AlloyError, match="the mean 'image' is no list of numbers: give imagenet"):
        parse_numbers("mean", "image")
