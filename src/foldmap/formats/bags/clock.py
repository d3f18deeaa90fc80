"""One clock for a bag: the stamps of its messages, or the times at which they were recorded."""

from __future__ import annotations

from foldmap.errors import BagInputError

CLOCKS = ("stamps", "received")
_JUMP_NS, _OTHER_NS = 1_000_000_000, 2_000_000_000
_STRAYS, _STILL = 3, 5
_CURE = "give --clock received to take the times at which messages were recorded"


class Clock:
    """Tells the time of each message, and refuses clocks that jump, differ between topics or stand still.

    A stamp moves on as the time of recording does. One that is off by more than a second alone is left out; three in a
    row are a jump.
    """

    def __init__(self, how: str = "stamps") -> None:
        self._received = how == "received"
        self._last: dict[str, tuple[int, int]] = {}
        self._strays: dict[str, int] = {}
        self._still: dict[str, int] = {}

    def time_ns(self, topic: str, stamp_ns: int, received_ns: int) -> int | None:
        """When the message was measured; None where its stamp strays alone.

        Raises:
            BagInputError: the clock jumps, stands still, or is not that of the other topics.
        """
        if self._received:
            return received_ns
        last = self._last.get(topic)
        if last is None:
            self._compare(topic, stamp_ns, received_ns)
        else:
            went, passed = stamp_ns - last[0], received_ns - last[1]
            if abs(went - passed) > _JUMP_NS + 0.6 * abs(passed):
                self._strays[topic] = self._strays.get(topic, 0) + 1
                if self._strays[topic] >= _STRAYS:
                    said = f"the clock of {topic} jumps by {(went - passed) / 1e9:+,.1f} s at {last[0] / 1e9:.3f} s"
                    raise BagInputError(said, _CURE)
                return None
            self._still[topic] = self._still.get(topic, 0) + 1 if went == 0 and passed > 0 else 0
            if self._still[topic] >= _STILL:
                raise BagInputError(f"the stamps of {topic} stand still at {stamp_ns / 1e9:.3f} s", _CURE)
        self._strays[topic] = 0
        self._last[topic] = stamp_ns, received_ns
        return stamp_ns

    def _compare(self, topic: str, stamp_ns: int, received_ns: int) -> None:
        """Check the first stamp of a topic against those of the others."""
        for other, (stamped, received) in self._last.items():
            apart_ns = (stamp_ns - received_ns) - (stamped - received)
            if abs(apart_ns) > _OTHER_NS + 0.6 * abs(received_ns - received):
                said = f"the clocks of {other} and {topic} differ by {abs(apart_ns) / 1e9:,.1f} s"
                raise BagInputError(said, _CURE)
