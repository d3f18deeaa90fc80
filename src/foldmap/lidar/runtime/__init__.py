"""The networks of a localizer without torch: as graphs that onnxruntime computes."""
