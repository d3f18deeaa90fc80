"""What a learned code has to beat: image codecs, and correlation without a network."""
