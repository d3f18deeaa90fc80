"""Sparse bright marks: a code of the ground that needs no network, neither to fold it nor to localize in it."""
