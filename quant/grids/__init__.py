"""Integer networks of numbers on grids: what every file of codes, ONNX or TFLite, is read to."""
