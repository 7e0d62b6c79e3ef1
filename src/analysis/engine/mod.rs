//! ONNX import and inference: the only code that names tract.
