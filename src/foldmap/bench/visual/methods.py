"""What is measured: maps by codec, selection and size, each named by how it is made."""

from dataclasses import dataclass, replace

from foldmap.errors import ConfigError

CODECS = (
    "observations",
    "means",
    "raw",
    "pq",
    "layer",
    "transform",
    "budget",
    "simple-raw",
    "simple-pq",
    "simple-binary",
)
ADAPTED = "adapted"
"""Recipe of a layer that was trained on other scenes and whose decoder is adapted to this one by LoRA."""
SELECTIONS = ("all", "gamma", "cover", "spread", "longest", "random")


@dataclass(frozen=True)
class MapSpec:
    """How a map is made."""

    # "observations" (every descriptor of every track, the paper's HLoc), "means" (of tracks, in memory, the paper's
    # HLoc-avg), "raw", "pq", "layer" (a trained one), "transform" (foldmap's), "budget" (foldmap chooses),
    # "simple-raw", "simple-pq", "simple-binary" (bits of an autoencoder)
    codec: str
    parts: int = 0  # M of "pq", "layer" and "simple-pq"; bytes of "simple-binary"
    recipe: str = ""  # of "layer", see `layers.RECIPES`; of "pq" an untrained kind of `foldmap.visual.codes.fit_codecs`
    select: str = "all"  # which points
    code_bytes: int = 0  # keep as many points as have codes of so many bytes together; 0 keeps all
    share: float = 0.0  # keep this share of the points; 0 says nothing
    file_bytes: int = 0  # of "budget" and the simple ones: keep what fits a file of so many bytes
    images: bool = False  # keep images, visibility and retrieval in the file whatever its size
    symmetric: bool = False  # query descriptors go through codebooks and decoder too

    def __post_init__(self) -> None:
        if self.codec not in CODECS or self.select not in SELECTIONS:
            raise ConfigError(f"there is no codec {self.codec!r} or selection {self.select!r}", "see MapSpec")

    @property
    def name(self) -> str:
        """Like ``observations``, ``pq4+gamma@30kB``, ``pq4-dpqed``, ``foldmap@60kB``."""
        base = {
            "means": "track-means",
            "pq": f"{self.recipe or 'pq'}{self.parts}",
            "layer": f"pq{self.parts}-{self.recipe}",
            "transform": "foldmap",
            "budget": "foldmap",
            "simple-pq": f"simple-pq{self.parts}",
            "simple-binary": f"simple-binary{self.parts}",
        }.get(self.codec, self.codec)
        if self.symmetric:
            base += "-symmetric"
        if self.select != "all":
            base += f"+{self.select}"
        if self.share:
            base += f"-{self.share:g}"
        if self.images:
            base += "+images"
        size = self.code_bytes or self.file_bytes
        return base + (f"@{told(size)}" if size else "")


def told(size: int) -> str:
    """``30000`` -> ``30kB``; ``1200000`` -> ``1.2MB``."""
    if size >= 10**6:
        return f"{size / 10**6:.3g}MB"
    return f"{size / 10**3:.3g}kB" if size >= 10**3 else f"{size}B"


@dataclass(frozen=True)
class MatcherOfMethod:
    """How a map is localized in."""

    name: str  # of the tables' columns
    # foldmap's localizer, which matches again near the pose it found and judges its answer; the others match and
    # solve once
    refines: bool = False
    ratio: float = 0.85  # see `PlainLocalizer`, of those that do not refine
    both_ways: bool = False  # mutual nearest neighbours only
    weights: str = ""  # file of a learned matcher's network, which refines, too, in maps that keep their images


FOLDMAP = MatcherOfMethod("foldmap", refines=True)
PLAIN = MatcherOfMethod("plain")
MATCHERS = {
    "nn": MatcherOfMethod("nn", ratio=1.0),
    "mutual": MatcherOfMethod("mutual", ratio=1.0, both_ways=True),
    "plain": PLAIN,
    "mutual-ratio": MatcherOfMethod("mutual-ratio", both_ways=True),
    "foldmap": FOLDMAP,
    "foldmap-mutual": MatcherOfMethod("foldmap-mutual", refines=True, both_ways=True),
}
"""Name -> matcher; "plain" (direct 2D-3D with ratio 0.85) is what the simple baseline uses."""


@dataclass(frozen=True)
class Line:
    """One row of a table: a heading, a map, and which matcher where the table compares them."""

    label: str
    spec: MapSpec
    matcher: MatcherOfMethod | None = None


def _gamma(codec: str, parts: int, code_bytes: int, recipe: str = "") -> MapSpec:
    return MapSpec(codec, parts, recipe, "gamma", code_bytes)


def direct(feature: str) -> list[Line]:
    """Unfolded maps, matched directly: what the paper's rows HLoc and HLoc-avg keep, without its retrieval."""
    return [
        Line(f"direct {feature}, every observation", MapSpec("observations")),
        Line(f"direct {feature}, track means", MapSpec("means")),
    ]


def equal_bytes(points: int, dimension: int, parts: tuple[int, ...], feature: str) -> list[Line]:
    """Table 1: PQ of all points against Gamma of raw descriptors, at equal bytes of descriptors."""
    lines = [*direct(feature), Line("raw (a byte a number)", MapSpec("raw"))]
    for part in parts:
        lines.append(Line(f"pq{part}", MapSpec("pq", part)))
        size = points * part
        if size // dimension >= 4:
            lines.append(Line(f"gamma {part / dimension:.3f}, raw", _gamma("raw", 0, size)))
    return [*lines, Line("foldmap (transform, all points)", MapSpec("transform"))]


def extreme_budget(budgets: tuple[int, ...], parts: tuple[int, ...]) -> list[Line]:
    """Table 2: few bytes."""
    lines = []
    for size in budgets:
        for part in parts:
            lines.append(Line(f"pq{part}+gamma, codes of {told(size)}", _gamma("pq", part, size)))
            lines.append(Line(f"  +dpqed, codes of {told(size)}", _gamma("layer", part, size, "dpqed")))
        lines += at_file_size(size)
    return lines


def at_file_size(size: int) -> list[Line]:
    """What a whole file of so many bytes can do: the simple ways, and foldmap's."""
    return [
        Line(f"simple, raw, {told(size)}", MapSpec("simple-raw", 0, "", "cover", file_bytes=size)),
        Line(f"simple, pq16, {told(size)}", MapSpec("simple-pq", 16, "", "cover", file_bytes=size)),
        Line(f"binary autoencoder, 8 bytes, {told(size)}", MapSpec("simple-binary", 8, "", "cover", file_bytes=size)),
        Line(f"foldmap, file of {told(size)}", MapSpec("budget", file_bytes=size)),
    ]


def memory_accounting(budgets: tuple[int, ...], feature: str) -> list[Line]:
    """Table 3: everything that a map needs, counted."""
    ours = MapSpec("layer", 4, "dpqed", "gamma", share=0.25, images=True)
    lines = [
        direct(feature)[0],
        Line("track means, a byte a number, with images", MapSpec("raw", images=True)),
        Line("pq4 with images", MapSpec("pq", 4, images=True)),
        Line("pq4+gamma 0.25+dpqed with images (the paper's)", ours),
        Line("foldmap (transform, all points) with images", MapSpec("transform", images=True)),
    ]
    for size in budgets:
        lines += at_file_size(size)
    return lines


def ablation(part: int, feature: str) -> list[Line]:
    """Table 4: what each part of the layer gives."""
    return [
        Line(f"pq{part}", MapSpec("pq", part)),
        Line("+ encoder (learned codebooks)", MapSpec("layer", part, "encoder")),
        Line("+ decoder, L2 loss", MapSpec("layer", part, "decoder-l2")),
        Line("+ decoder, triplet loss", MapSpec("layer", part, "decoder-triplet")),
        Line("d-pqed, symmetric", MapSpec("layer", part, "dpqed", symmetric=True)),
        Line("d-pqed (learned on track means)", MapSpec("layer", part, "dpqed")),
        Line("d-pqed, learned on image descriptors (the paper's)", MapSpec("layer", part, "dpqed-images")),
        Line(f"opq{part}", MapSpec("pq", part, "opq")),
        Line(f"additive{part}", MapSpec("pq", part, "additive")),
        Line("d-pqed+ (additive, foldmap's)", MapSpec("layer", part, "dpqed+")),
        Line("foldmap (transform, all points)", MapSpec("transform")),
        direct(feature)[1],
    ]


def losses(part: int) -> list[Line]:
    """Supplementary table 1."""
    return [
        Line(f"pq{part}", MapSpec("pq", part)),
        Line("d-pqed, L2", MapSpec("layer", part, "dpqed-l2")),
        Line("d-pqed, N-pair, N = 10", MapSpec("layer", part, "dpqed-n-pair-10")),
        Line("d-pqed, N-pair, N = 20", MapSpec("layer", part, "dpqed-n-pair-20")),
        Line("d-pqed, triplet, m = 0.3", MapSpec("layer", part, "dpqed-triplet-0.3")),
        Line("d-pqed, triplet, m = 0.5", MapSpec("layer", part, "dpqed-triplet-0.5")),
        Line("d-pqed, triplet, m = 0.9", MapSpec("layer", part, "dpqed")),
        Line("d-pqed+ (additive, foldmap's)", MapSpec("layer", part, "dpqed+")),
    ]


def matchers(part: int, weights: str = "") -> list[Line]:
    """Supplementary table 2; a learned matcher where its weights are at hand."""
    maps = [
        ("track means", MapSpec("means")),
        (f"pq{part}", MapSpec("pq", part)),
        ("d-pqed", MapSpec("layer", part, "dpqed")),
        ("foldmap", MapSpec("transform")),
    ]
    lines = [Line(f"{name}, {way.name}", spec, way) for way in MATCHERS.values() for name, spec in maps]
    if not weights:
        return lines
    learned = MatcherOfMethod("learned", refines=True, weights=weights)
    # the network pairs images: it needs a file that keeps them
    maps[0] = ("track means, a byte a number", MapSpec("raw"))
    return lines + [Line(f"{name}, learned", replace(spec, images=True), learned) for name, spec in maps]


def selections(points: int) -> list[Line]:
    """Which points: the paper's Gamma, greedy K-cover, foldmap's spread, and naive choices, raw descriptors."""
    kept = [share for share in (0.25, 0.064) if share * points >= 20]
    return [
        Line(f"{way}, {share:g} of the points", MapSpec("raw", select=way, share=share))
        for share in kept
        for way in ("gamma", "cover", "spread", "longest", "random")
    ]


def per_scene(parts: tuple[int, ...], feature: str, decoder_parts: int = 0) -> list[Line]:
    """Supplementary tables 3 and 4: the paper's rows, to be shown scene by scene; adapted where there is a decoder."""
    lines = direct(feature)
    lines += [Line(f"pq{part}", MapSpec("pq", part)) for part in parts]
    for part, share in ((32, 0.008), (4, 0.064), (2, 0.128)):
        if part in parts:
            lines.append(Line(f"pq{part}+gamma {share:g}", MapSpec("pq", part, "", "gamma", share=share)))
            lines.append(Line("  +d-pqed", MapSpec("layer", part, "dpqed", "gamma", share=share)))
        if part == decoder_parts:
            lines.append(Line("  +d-pqed, adapted by LoRA", MapSpec("layer", part, ADAPTED, "gamma", share=share)))
    return [*lines, Line("foldmap (transform, all points)", MapSpec("transform"))]
