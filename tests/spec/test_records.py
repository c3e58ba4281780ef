"""Types of what is read from files. The kind: a value of another type that Python goes on with (a float, a bool, text
for a bool)."""

from dataclasses import fields, replace
import io
import json
import zipfile

import numpy as np
import pytest

import boards
from compiler import Program, compile
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.network import Network, Tensor
from spec.operators.max_pool import MaxPool
from tests.networks import random_network

BASE = boards.get("zcu102").config.to_dict()
CONFIG = EngineConfig(name="records", ic=4, pixels=4, dsp_filters=4, lut_filters=2, act_depth=128, weight_depth=128,
                      ports=1, port_bits=32)
STRANGE = {"int": [8.0, 22.5, True, "8", None, [8], {}, float("nan")], "str": [5, True, None, ["x"], b"x"],
           "bool": ["false", 1, 0, None, "true"]}


@pytest.mark.parametrize("field, value", [(f.name, v) for f in fields(EngineConfig) for v in STRANGE[f.type.__name__]])
def test_every_field_of_the_configuration(field, value):
    with pytest.raises(AlloyError, match=f"configuration {field} is .*: it must be (an integer|text|true or false)"):
        EngineConfig.from_dict(BASE | {field: value})


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", ".", "/etc/x", "a\\b", "a\nb", "\0"])
def test_names_of_configurations(name):
    with pytest.raises(AlloyError, match="configuration name is .*: give a name"):
        EngineConfig.from_dict(BASE | {"name": name})


@pytest.mark.parametrize("values", [[], 3, None, "x"])
def test_a_configuration_is_an_object(values):
    with pytest.raises(AlloyError, match="it must be an object"):
        EngineConfig.from_dict(values)


def test_missing_keys_and_null_digest():
    assert EngineConfig.from_dict(BASE | {"digest": None}) == EngineConfig.from_dict(BASE)
    with pytest.raises(AlloyError, match="not complete: it has no pixels"):
        EngineConfig.from_dict({k: v for k, v in BASE.items() if k != "pixels"})


def test_numpy_integers_become_plain():
    """They came from a computation and mean what they say; the digest is that of the plain ones."""
    plain = EngineConfig(**BASE)
    other = EngineConfig(**BASE | {"ic": np.int64(plain.ic)})
    assert other == plain and other.digest == plain.digest and type(other.ic) is int
    with pytest.raises(AlloyError):
        EngineConfig(**BASE | {"portable_dsp": np.int64(1)})


def network_file(tmp_path, change, arrays=()):
    """A network file whose description ``change`` has changed."""
    random_network(np.random.default_rng(3), layers=4).save(tmp_path / "n.npz")
    with np.load(tmp_path / "n.npz") as data:
        held = {name: data[name] for name in data.files} | dict(arrays)
    graph = json.loads(held["graph"].tobytes())
    change(graph)
    held["graph"] = np.frombuffer(json.dumps(graph).encode(), np.uint8)
    np.savez(tmp_path / "n.npz", **held)
    return tmp_path / "n.npz"


def refused(path, load=Network.load, words="is not a whole Alloy network file"):
    with pytest.raises(AlloyError, match=words) as found:
        load(path)
    assert str(path) in str(found.value) and "\n" not in str(found.value)
    return str(found.value)


WRONG = [1.5, True, None, "x", [1], [1, 2, 3], {}, [1.0, 1.0], -1, 10 ** 30]


def places(value, path=()):
    """Paths to every leaf and every list of a JSON value."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield path
        for index in (0, len(value) - 1):
            yield from places(value[index], (*path, index))
    else:
        yield path


def put(value, path, new):
    for key in path[:-1]:
        value = value[key]
    old, value[path[-1]] = value[path[-1]], new
    return old


def test_any_value_of_a_network_file(tmp_path):
    """Each value of the description in turn is replaced by values of other types: a sentence, or the value does not
    matter."""
    found = []
    network_file(tmp_path, lambda graph: found.extend(places(graph)))
    kinds = set()
    for path in found:
        for value in WRONG:
            old = []
            file = network_file(tmp_path, lambda graph, v=value, p=path, o=old: o.append(put(graph, p, v)))
            try:
                Network.load(file)
            except AlloyError as error:
                assert "\n" not in str(error) and "it may be truncated" not in str(error)
                kinds.add(path)
            else:
                same = type(old[0]) is type(value) and type(value) in (int, str, list)
                assert same or value is None and path[-1] == "residual", (path, value)
    assert kinds == set(found)


@pytest.mark.parametrize("change, words", [
    (lambda g: g["tensors"][0].update(width=3.0), "width is 3.0: it must be an integer"),
    (lambda g: g["tensors"].append(dict(g["tensors"][0])), "two tensors are called"),
    (lambda g: g["tensors"][0].pop("bits"), "not complete: it has no bits"),
    (lambda g: g["tensors"][0].update(colour=1), "unknown key 'colour'"),
    (lambda g: g["nodes"][0].update(kind="dense"), "unknown kind 'dense'"),
    (lambda g: g["nodes"][0].update(name=""), ""),
    (lambda g: g.update(format=2), "network format 2 and this Alloy reads 1"),
    (lambda g: g.update(nodes=None), "its nodes are no list"),
    (lambda g: g.update(extra=1), "unknown key 'extra'"),
])
def test_network_descriptions(tmp_path, change, words):
    assert words in refused(network_file(tmp_path, change))


def test_arrays_of_a_network_file(tmp_path):
    """Shapes and types of arrays that no layer can have."""
    network = random_network(np.random.default_rng(3), layers=4)
    layer = next(n for n in network.nodes if n.kind == "conv")
    for field in ("weight", "scheme", "mult", "bias", "codebook", "table", "bounds"):
        whole = getattr(layer, field)
        for array in (whole.astype(float) + 0.5, np.int64(3), whole[..., None], np.zeros((0, *whole.shape), int),
                      np.array(["x"]),
                      np.zeros(3, bool)):
            path = network_file(tmp_path, lambda graph: None, {f"{layer.name}.{field}": array})
            try:
                Network.load(path)
            except AlloyError as error:
                assert "\n" not in str(error) and str(path) in str(error)
            else:
                assert np.size(array) == 0 and field in ("bounds", "codebook", "table"), (field, array)


def test_records_in_python():
    with pytest.raises(AlloyError, match="tensor t: width is '3': it must be an integer"):
        Tensor(name="t", channels=1, height=1, width="3", bits=8)
    with pytest.raises(AlloyError, match="layer p: kernel is .*: it must be a list of 2 integers"):
        MaxPool(name="p", input="a", output="b", kernel=(3,))
    with pytest.raises(AlloyError, match="two layers are called"):
        network = random_network(np.random.default_rng(3), layers=3)
        twice = [replace(node, name="same") for node in network.nodes]
        Network(name="n", input=network.input, output=network.output, tensors=network.tensors, nodes=twice)


def test_any_value_of_a_program_file(tmp_path):
    """The same for the description of a program."""
    compile(random_network(np.random.default_rng(3), layers=2), CONFIG, keep="all").save(tmp_path / "p.alloy")
    with zipfile.ZipFile(tmp_path / "p.alloy") as file:
        meta, image = file.read("program.json"), file.read("image.bin")
    for path in places(json.loads(meta)):
        for value in WRONG:
            changed = json.loads(meta)
            old = put(changed, path, value)
            data = io.BytesIO()
            with zipfile.ZipFile(data, "w") as file:
                file.writestr("program.json", json.dumps(changed))
                file.writestr("image.bin", image)
            (tmp_path / "p.alloy").write_bytes(data.getvalue())
            try:
                Program.load(tmp_path / "p.alloy")
            except AlloyError as error:
                assert "is not a whole Alloy program" in str(error) and "\n" not in str(error)
            else:
                fits = (path[-1], type(value)) in {("padding_end", type(None)), ("scale", float)}  # may be either
                assert type(old) is type(value) or fits, (path, value)
