"""How the coders' inner loops are compiled."""

from typing import Any

from numba import njit

# Without numba's reference counting: the loops allocate nothing, and counting references to the arrays that they hand
# to each other costs twenty times the coding itself (63 against 3 ns a decision).
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
loop = njit(**_OPTIONS)
inner_loop = njit(**_OPTIONS, forceinline=True)
