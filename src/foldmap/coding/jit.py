"""How the coders' inner loops are compiled."""

from typing import Any

from numba import njit

# Without numba's reference counting: the loops allocate nothing, and counting references to the arrays that they hand
# to each other costs twenty times the coding itself (63 against 3 ns a decision).
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
loop = njit(**_OPTIONS)
inner_loop = njit(**_OPTIONS, forceinline=True)
# Sums in any order, so that many products are added at a time: for what need not be the same on every machine.
sums = njit(**_OPTIONS, forceinline=True, fastmath={"reassoc", "contract"})
# For quotients whose divisors are never zero: without a look at each of them many are made at a time.
quotients = njit(**_OPTIONS, forceinline=True, error_model="numpy")
