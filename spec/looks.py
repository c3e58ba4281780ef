"""What a file looks like, for a sentence about one that is something else than it should be."""

import io
from os import PathLike
import zipfile

__all__ = ["looks_like"]

MAGIC = (
    (b"\xff\xd8\xff", "a JPEG image"), (b"\x89PNG\r\n\x1a\n", "a PNG image"), (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"\x93NUMPY", "a single NumPy array (.npy)"), (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras weights)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip file"), (b"\xfd7zXZ\x00", "an xz file"), (b"BZh", "a bzip2 file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x7fELF", "a compiled program"), (b"GGUF", "a GGUF model"), (b"\x80\x02", "a pickle (an old PyTorch .pth)"),
    (b"\x80\x03", "a pickle"), (b"\x80\x04", "a pickle"), (b"\x80\x05", "a pickle"), (b"#!", "a script"),
    (b"version https://git-lfs", "a Git LFS pointer, whose content was not fetched"))
SUFFIXES = {".onnx": "an ONNX model", ".pth": "PyTorch weights", ".pt": "a PyTorch file", ".tflite": "a TFLite model",
            ".safetensors": "a safetensors file", ".h5": "an HDF5 file (Keras weights)"}
ONNX_FIELDS = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)     # what may follow the version in an ONNX ModelProto


def looks_like(data: bytes, path: str | PathLike = "") -> str:
    """A few words for the bytes of a file, such as "an ONNX model"; the name's suffix counts where the bytes say
    nothing."""
    if not data:
        return "an empty file"
    if data.startswith(b"PK"):
        return _archive(data)
    for magic, words in MAGIC:
        if data.startswith(magic):
            return words
    if data[4:8] == b"TFL3":
        return "a TFLite model"
    if data[8:10] == b'{"':
        return "a safetensors file"
    if data[257:262] == b"ustar":
        return "a tar archive"
    if len(data) > 8 and data[0] == 8 and data[1] < 32 and data[2] in ONNX_FIELDS:
        return "an ONNX model"
    for suffix, words in SUFFIXES.items():
        if str(path).lower().endswith(suffix):
            return words
    return _text(data[:4096])


def _text(start):
    try:
        text = start.decode("utf-8-sig", errors="ignore" if len(start) == 4096 else "strict").lstrip()
    except UnicodeDecodeError:
        return "binary data of an unknown kind"
    if "\0" in text:
        return "binary data of an unknown kind"
    return "JSON text" if text.startswith(("{", "[")) else "text"


def _archive(data):
    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return "a zip archive that is truncated or damaged"
    if "graph.npy" in names:
        return "an Alloy network file (.npz)"
    if "program.json" in names:
        return "an Alloy program"
    if any(name.endswith("/data.pkl") for name in names):
        script = any("/code/" in name for name in names)
        return "a TorchScript model" if script else "a PyTorch file (.pth)"
    if "model.weights.h5" in names:
        return "a Keras model"
    if names and all(name.endswith(".npy") for name in names):
        return "an .npz of other arrays"
    return "a zip archive"
