"""Export the network of a finished run as an MLflow model and as ONNX."""
