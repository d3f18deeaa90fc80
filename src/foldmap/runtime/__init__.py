"""Networks and loops as they run on a device: graphs for onnxruntime, threads, memory; no torch."""
