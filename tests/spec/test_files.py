"""Writing: whole or not at all, into whatever the name leads to, nothing of anybody's lost."""

import os
from pathlib import Path
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from spec.errors import AlloyError
from spec.files import check_outputs, parse_json, replacing, save_arrays, write_text
from tests.networks import random_network


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_missing_folders_are_made_and_nothing_else(tmp_path):
    write_text(tmp_path / "a" / "b" / "file", "text\n")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"text\n" and names(tmp_path / "a" / "b") == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_the_earlier_file_and_no_other(tmp_path, error):
    """Half-written output, and what is left of it, whatever ends the writing."""
    write_text(tmp_path / "file", "before")
    with pytest.raises((error, AlloyError)), replacing(tmp_path / "file") as partial:
        partial.write_text("half")
        raise error("stop")
    assert (tmp_path / "file").read_text() == "before" and names(tmp_path) == ["file"]


def test_writers_at_the_same_time(tmp_path):
    """Two writers of one name do not share a file: the result is one of theirs, whole."""
    path, whole, go = tmp_path / "file", [], threading.Barrier(4, timeout=20)

    def work(letter):
        go.wait()
        for _ in range(20):
            with replacing(path) as partial, open(partial, "w") as file:
                for _ in range(50):
                    file.write(letter * 500)
                    file.flush()
            text = path.read_text()
            whole.append(len(text) == 25_000 and len(set(text)) == 1)
    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole == [True] * 80 and names(tmp_path) == ["file"]


@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(tmp_path, there):
    """A link stays one; what it leads to is written, also through several links and if it is not there yet."""
    (tmp_path / "real").mkdir()
    if there:
        (tmp_path / "real" / "file").write_text("before")
    (tmp_path / "middle").symlink_to(Path("real", "file"))
    (tmp_path / "link").symlink_to(tmp_path / "middle")
    write_text(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "middle").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "after" and names(tmp_path / "real") == ["file"]


def test_a_hard_link_keeps_its_content(tmp_path):
    (tmp_path / "file").write_text("before")
    os.link(tmp_path / "file", tmp_path / "other")
    write_text(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text() == "after" and (tmp_path / "other").read_text() == "before"


def test_devices_and_pipes_are_written_to(tmp_path):
    """What is no file is not replaced by one. The device is a terminal of the test's own: a defect would replace it."""
    host, terminal = os.openpty()
    write_text(os.ttyname(terminal), "text")
    assert os.read(host, 100) == b"text" and stat.S_ISCHR(os.stat(os.ttyname(terminal)).st_mode)
    for number in (host, terminal):
        os.close(number)
    os.mkfifo(tmp_path / "pipe")
    seen = []
    reader = threading.Thread(target=lambda: seen.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_text(tmp_path / "pipe", "text")
    reader.join()
    assert seen == [b"text"] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


CODE = "from spec.files import write_text; import sys; print('one'); write_text(sys.argv[1], 'two\\n'); print('three')"


@pytest.mark.parametrize("name, pipe", [("/proc/self/fd/1", True), ("/proc/self/fd/1", False), ("out", False)])
def test_standard_output(tmp_path, name, pipe):
    """``--json /dev/stdout``, which is such a link, also if that is a file: what was printed before and after stays."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "stdout").symlink_to(name if name != "out" else tmp_path / name)
    command, name = [sys.executable, "-c", CODE], str(tmp_path / "folder" / "stdout")
    with open(tmp_path / "out", "wb") as out:
        done = subprocess.run([*command, name], stdout=subprocess.PIPE if pipe else out, check=True)
    assert (done.stdout if pipe else (tmp_path / "out").read_bytes()) == b"one\ntwo\nthree\n"
    assert names(tmp_path) == ["folder", "out"] and (tmp_path / "folder" / "stdout").is_symlink()


@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions(tmp_path, mask, mode):
    """A new file has those that the umask leaves; an earlier one keeps its own."""
    before = os.umask(mask)
    try:
        write_text(tmp_path / "new", "text")
        write_text(tmp_path / "old", "text")
        (tmp_path / "old").chmod(0o640)
        write_text(tmp_path / "old", "text")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "old")] == [mode, 0o640]


def test_long_names(tmp_path):
    """A name may be as long as the file system takes; its partial file must not be longer."""
    write_text(tmp_path / ("x" * 255), "text")
    assert names(tmp_path) == ["x" * 255]


@pytest.mark.parametrize("name, words", [
    ("", "is a folder"), (".", "is a folder"), ("folder", "is a folder"), ("new/", "is a folder"),
    ("file/x", "cannot be written"), ("loop", "cannot be written"), ("x" * 256, "cannot be written")])
def test_places_that_cannot_be_written(tmp_path, monkeypatch, name, words):
    """Every function that saves says so in a sentence, and the check at the start of a command finds it out."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("text")
    (tmp_path / "loop").symlink_to("loop")
    before, network = names(tmp_path), random_network(np.random.default_rng(0), layers=1)
    for write in (lambda: write_text(name, "text"), lambda: save_arrays(name, {"a": np.zeros(1)}),
                  lambda: network.save(name),
                  lambda: check_outputs(name)):
        with pytest.raises(AlloyError, match=words):
            write()
    assert names(tmp_path) == before


def test_save_makes_the_folder(tmp_path):
    """``Network.save`` into a folder that is not there yet."""
    random_network(np.random.default_rng(0), layers=1).save(tmp_path / "new" / "n.npz")
    assert names(tmp_path / "new") == ["n.npz"]


def test_check_leaves_nothing(tmp_path):
    check_outputs(tmp_path / "new" / "folder" / "file", None, "/dev/null", "/dev/stdout",
                  inputs=(None, tmp_path / "file"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("text, words", [
    ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice"), ('{"a": NaN}', "NaN is no number"),
    ('{"a": -Infinity}', "no number"),
    ("[1]", "it holds a list and must hold an object"), ("3", "holds a number"), ("null", "holds null"),
    ('"x"', "holds text"), ("{", "Expecting"),
    ("", "Expecting"), (b"\xff\xfe\xfa", "no text"), ("[" * 10 ** 5, "nested"), ("1" * 5000, "integer")])
def test_json(text, words):
    """JSON that Python would take and nobody means."""
    with pytest.raises(ValueError, match=words):
        parse_json(text if isinstance(text, bytes) else text.encode())


def test_json_of_other_editors():
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == parse_json('{"a": 1}'.encode("utf-16")) == {"a": 1}
