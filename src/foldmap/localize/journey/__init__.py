"""From somewhere in town to centimetres: whatever layers a map has, with whatever a drive brings."""
