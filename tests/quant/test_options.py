"""Options from the command line and from files: the command line wins, what is not known is refused."""

import re

import pytest

from quant.options import QuantizeOptions, collected, to_yaml
from spec.errors import AlloyError
from quant.__main__ import main


def written(tmp_path, text):
    (tmp_path / "o.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / "o.yaml"


def test_the_command_line_wins(tmp_path):
    file = written(tmp_path, "model: nets:Net\nrecipe: fixed8\nsize: [24, 32]\nmean: [0.5, 0.25, 0.1]\nstd: 0.5\n"
                             "test-labels: l.csv\ncrop: true\n")
    found = collected(QuantizeOptions, {"recipe": "ratio", "seed": 3}, file)
    assert found == QuantizeOptions(model="nets:Net", recipe="ratio", size="24x32", mean="0.5,0.25,0.1", std="0.5",
                                    test_labels="l.csv", crop=True, seed=3)
    assert collected(QuantizeOptions, {}, written(tmp_path, "")) == QuantizeOptions()
    assert collected(QuantizeOptions, {}, written(tmp_path, "size: 224\nlogits: no\n")).logits is False


@pytest.mark.parametrize("text, words", [
    ("recipt: alloy", "has the unknown option 'recipt': did you mean recipe?"),
    ("zzz: 1", "has the unknown option 'zzz': known are model"), ("recipe: [", "is no YAML"),
    ("a: b: c", "line 1 is no YAML"), ("- recipe", "holds list, no options"), (b"\xff\xfe\xff", "is no YAML"),
    ("test-labels: a\ntest_labels: b", "has the option test_labels twice"),
    ("count: many", "o.yaml: count is 'many': input should be a valid integer"),
    ("crop: 7", "o.yaml: crop is 7"), ("channels: 9", "channels is 9"), ("model: [1]\nmodel: 3", "model is 3"),
    ("!!python/object/apply:os.system ['true']", "is no YAML")])
def test_files_that_are_refused(tmp_path, text, words):
    with pytest.raises(AlloyError, match=re.escape(words)) as error:
        collected(QuantizeOptions, {}, written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_values_of_the_command_line_are_named_so(capsys):
    with pytest.raises(AlloyError, match="^--calibration is 0: input should be greater than or equal to 1$"):
        collected(QuantizeOptions, {"calibration": 0})
    assert main(["--out", "x.npz", "--calibration", "few"]) == 2
    assert "--calibration" in capsys.readouterr().err


def test_a_file_repeats_the_run(tmp_path):
    options = QuantizeOptions(model="nets:Net", size="8x9", mean="0.5", crop=True, images="ä b")
    assert collected(QuantizeOptions, {}, written(tmp_path, to_yaml(options))) == options


def test_every_option_is_in_the_help(capsys):
    """With what it means, so that no field of a file is unknown to the command line."""
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in QuantizeOptions.model_fields:
        assert name.upper() in shown or f"--{name.replace('_', '-')}" in shown, name
    assert all(field.description for field in QuantizeOptions.model_fields.values())
