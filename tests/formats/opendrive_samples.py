"""Small OpenDRIVE maps whose lanes are known."""

from __future__ import annotations

from collections.abc import Sequence


def width(metres: float, b: float = 0.0, c: float = 0.0, d: float = 0.0, offset: float = 0.0) -> str:
    return f'<width sOffset="{offset}" a="{metres}" b="{b}" c="{c}" d="{d}"/>'


def lane(
    identity: int, before: int | None = None, after: int | None = None, widths: str = width(3.5),
    kind: str = "driving", extra: str = "", attributes: str = "",
) -> str:  # fmt: skip
    link = "".join(
        f'<{name} id="{there}"/>'
        for name, there in (("predecessor", before), ("successor", after))
        if there is not None
    )
    return f'<lane id="{identity}" type="{kind}" {attributes}><link>{link}</link>{widths}{extra}</lane>'


def section(lanes: Sequence[str], s: float = 0.0) -> str:
    left = "".join(each for each in lanes if 'id="-' not in each.split("type")[0])
    right = "".join(each for each in lanes if 'id="-' in each.split("type")[0])
    sides = (f"<left>{left}</left>" if left else "") + '<center><lane id="0" type="none"/></center>'
    return f'<laneSection s="{s}">{sides}' + (f"<right>{right}</right>" if right else "") + "</laneSection>"


def geometry(s: float, x: float, y: float, hdg: float, length: float, shape: str) -> str:
    return f'<geometry s="{s!r}" x="{x!r}" y="{y!r}" hdg="{hdg!r}" length="{length!r}">{shape}</geometry>'


def road(
    identity: str, geometries: Sequence[str], lanes: str, length: float, junction: str = "-1", link: str = "",
    before: str = "", attributes: str = "",
) -> str:  # fmt: skip
    return (
        f'<road id="{identity}" junction="{junction}" length="{length!r}" {attributes}><link>{link}</link>{before}'
        f"<planView>{''.join(geometries)}</planView><lanes>{lanes}</lanes></road>"
    )


def document(*parts: str, header: str = "") -> str:
    start = f'<?xml version="1.0"?><OpenDRIVE><header revMajor="1" revMinor="7">{header}</header>'
    return f"{start}{''.join(parts)}</OpenDRIVE>"


def joined(name: str, identity: str, contact: str) -> str:
    return f'<{name} elementType="road" elementId="{identity}" contactPoint="{contact}"/>'


def at_junction(name: str, identity: str) -> str:
    return f'<{name} elementType="junction" elementId="{identity}"/>'
