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
           "DEPTH_TO_SPACE": "DepthToSpace", "GELU": "Gelu", "SPLIT_V": "SplitV"}


class Builder:
    """Tensors are indices; ``op`` returns those that an operator makes."""

    def __init__(self):
        self.tensors, self.buffers, self.codes, self.operators = [], [schema.BufferT()], [], []
        self.inputs = []

    def tensor(self, shape, kind=np.int8, scale=None, zero=0, *, axis=0, data=None, signature=None, name=None):
        """A tensor; ``scale`` is a number or one for each element along ``axis``."""
        made, buffer = schema.TensorT(), 0
        if data is not None:
            held = schema.BufferT()
            held.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(held)
            buffer = len(self.buffers) - 1
        made.shape, made.type, made.buffer = list(shape), TYPES[np.dtype(kind)], buffer
        made.shapeSignature = None if signature is None else list(signature)
        made.name = (name or f"t/{len(self.tensors)};more").encode()
        if scale is not None:
            quantization = schema.QuantizationParametersT()
            quantization.scale = np.atleast_1d(np.float32(scale))
            quantization.zeroPoint = np.broadcast_to(np.int64(zero), quantization.scale.shape).copy()
            quantization.quantizedDimension = axis
            made.quantization = quantization
        made.hasRank = True
        self.tensors.append(made)
        return len(self.tensors) - 1

    def input(self, shape, kind=np.int8, scale=None, zero=0, **more):
        self.inputs.append(self.tensor(shape, kind, scale, zero, **more))
        return self.inputs[-1]

    def const(self, data, scale=None, zero=0, axis=0):
        data = np.asarray(data)
        return self.tensor(data.shape, data.dtype, scale, zero, axis=axis, data=data)

    def op(self, kind, inputs, shape, scale=None, zero=0, dtype=np.int8, **options):
        """An operator that makes one tensor, or as many as ``shape`` is a list of."""
        shapes = shape if isinstance(shape, list) else [shape]
        outputs = [self.tensor(one, dtype, scale, zero) for one in shapes]
        number = getattr(schema.BuiltinOperator, kind)
        code, node = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        self.codes.append(code)
        node.opcodeIndex, node.inputs, node.outputs = len(self.codes) - 1, list(inputs), outputs
        if kind in OPTIONS:
            name = f"{OPTIONS[kind]}Options"
            made = getattr(schema, f"{name}T")()
            for key, value in options.items():
                assert hasattr(made, key), key
                setattr(made, key, value)
            node.builtinOptionsType, node.builtinOptions = getattr(schema.BuiltinOptions, name), made
        self.operators.append(node)
        return outputs if isinstance(shape, list) else outputs[0]

    def content(self, *outputs):
        """The bytes of the file."""
        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators = self.tensors, self.operators
        graph.inputs, graph.outputs, graph.name = self.inputs, list(outputs), b"main"
        model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], self.buffers, self.codes
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path, *outputs):
        path.write_bytes(self.content(*outputs))
        return str(path)


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
