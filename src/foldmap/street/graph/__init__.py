"""Lane graphs: cut, simplified, repaired, and coded in few bytes."""
