"""Lossless coders of binary code maps and integers; quantizers of vectors."""
