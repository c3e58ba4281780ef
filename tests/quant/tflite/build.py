"""TFLite models made operator by operator, and what LiteRT's reference kernels make of them."""

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
import flatbuffers
import numpy as np

__all__ = ["Builder", "reference"]

TYPES = {np.dtype(np.float32): schema.TensorType.FLOAT32, np.dtype(np.int8): schema.TensorType.INT8,
         np.dtype(np.uint8): schema.TensorType.UINT8, np.dtype(np.int16): schema.TensorType.INT16,
         np.dtype(np.int32): schema.TensorType.INT32, np.dtype(np.int64): schema.TensorType.INT64}
OPTIONS = {"CONV_2D": "Conv2D", "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "FULLY_CONNECTED": "FullyConnected",
           "MAX_POOL_2D": "Pool2D", "AVERAGE_POOL_2D": "Pool2D", "MEAN": "Reducer", "SUM": "Reducer",
           "REDUCE_MAX": "Reducer", "ADD": "Add", "SUB": "Sub", "MUL": "Mul", "CONCATENATION": "Concatenation",
           "RESHAPE": "Reshape", "SQUEEZE": "Squeeze", "SPLIT": "Split", "STRIDED_SLICE": "StridedSlice",
           "LEAKY_RELU": "LeakyRelu", "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighbor", "SOFTMAX": "Softmax",
           "PACK": "Pack", "GATHER": "Gather", "UNPACK": "Unpack", "SPACE_TO_DEPTH": "SpaceToDepth",
           "DEPTH_TO_SPACE": "DepthToSpace", "GELU": "Gelu", "SPLIT_V": "SplitV", "SHAPE": "Shape"}


class Builder:
    """Tensors are indices; ``op`` returns those that an operator makes."""

    def __init__(self):
        self.tensors, self.buffers, self.codes, self.operators = [], [schema.BufferT()], [], []
        self.inputs = []

    def tensor(self, shape, dtype=np.int8, scale=None, zero=0, *, axis=0, data=None, signature=None, name=None):
        """A tensor; ``scale`` is a number or one for each element along ``axis``."""
        buffer = 0
        if data is not None:
            content = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(_filled(schema.BufferT(), data=content))
            buffer = len(self.buffers) - 1
        quantization = None
        if scale is not None:
            scales = np.atleast_1d(np.float32(scale))
            quantization = _filled(schema.QuantizationParametersT(), scale=scales, quantizedDimension=axis,
                                   zeroPoint=np.broadcast_to(np.int64(zero), scales.shape).copy())
        self.tensors.append(_filled(
            schema.TensorT(), shape=list(shape), type=TYPES[np.dtype(dtype)], buffer=buffer, quantization=quantization,
            shapeSignature=None if signature is None else list(signature), hasRank=True,
            name=(name or f"t/{len(self.tensors)};more").encode()))
        return len(self.tensors) - 1

    def input(self, shape, dtype=np.int8, scale=None, zero=0, **more):
        self.inputs.append(self.tensor(shape, dtype, scale, zero, **more))
        return self.inputs[-1]

    def const(self, data, scale=None, zero=0, axis=0):
        data = np.asarray(data)
        return self.tensor(data.shape, data.dtype, scale, zero, axis=axis, data=data)

    def op(self, op_type, inputs, shape, scale=None, zero=0, dtype=np.int8, **options):
        """An operator that makes one tensor, or as many as ``shape`` is a list of."""
        shapes = shape if isinstance(shape, list) else [shape]
        outputs = [self.tensor(one, dtype, scale, zero) for one in shapes]
        number = getattr(schema.BuiltinOperator, op_type)
        self.codes.append(_filled(schema.OperatorCodeT(), builtinCode=number, deprecatedBuiltinCode=min(number, 127),
                                  version=1))
        node = _filled(schema.OperatorT(), opcodeIndex=len(self.codes) - 1, inputs=list(inputs), outputs=outputs)
        if op_type in OPTIONS:
            name = f"{OPTIONS[op_type]}Options"
            _filled(node, builtinOptionsType=getattr(schema.BuiltinOptions, name),
                    builtinOptions=_filled(getattr(schema, f"{name}T")(), **options))
        self.operators.append(node)
        return outputs if isinstance(shape, list) else outputs[0]

    def content(self, *outputs):
        """The bytes of the file."""
        graph = _filled(schema.SubGraphT(), tensors=self.tensors, operators=self.operators, inputs=self.inputs,
                        outputs=list(outputs), name=b"main")
        model = _filled(schema.ModelT(), version=3, subgraphs=[graph], buffers=self.buffers, operatorCodes=self.codes)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path, *outputs):
        path.write_bytes(self.content(*outputs))
        return str(path)


def _filled(thing, **fields):
    """An object of the schema with these fields."""
    for key, value in fields.items():
        assert hasattr(thing, key), key
        setattr(thing, key, value)
    return thing


def reference(path, images):
    """Outputs of LiteRT's reference kernels for images (N, ...) in the file's order and type."""
    try:
        interpreter = Interpreter(path, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    except ValueError:      # ELU has one kernel only
        interpreter = Interpreter(path,
                                  experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    source, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    found = []
    for image in images:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(out))
    return np.concatenate(found)
