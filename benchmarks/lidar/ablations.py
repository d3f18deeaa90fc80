"""Models for table 4 of the paper: codecs trained for reconstruction or for the match, 8x or 16x, one matcher for all.

python -m benchmarks.lidar.ablations --pairs PAIRS --steps 3000 -o out/ablations
foldmap bench lidar --sweeps drive/ --poses poses.txt --ablations out/ablations/models -o out/bench
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foldmap.bench.lidar.baselines.tuning import TrainingPlaces, from_step, read_places, run_folder, trained
from foldmap.bench.lidar.finish import UnfoldedRaster
from foldmap.coding.context import ContextModel
from foldmap.errors import ConfigError, ModelError
from foldmap.geometry import MetricGrid
from foldmap.lidar.bundle import Bundle, quantized
from foldmap.lidar.codec import Decoder
from foldmap.lidar.defaults import bundles_for
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import Pair
from foldmap.lidar.presets import preset_named
from foldmap.lidar.source import RasterMap

_CODER_PAIRS = 200
_HOLD_OUT = 4


@dataclass(frozen=True)
class Variants:
    """What is trained for the ablation.

    Attributes:
        steps: of the codec, for each variant.
        matcher_steps: of the common matcher, where no given model has it.
        presets: sizes; their embeddings must be alike, so that one matcher serves all.
        modes: objectives, as `foldmap.lidar.train.MODES` has them.
        rate_bit_m2: code entropy that all aim at.
    """

    steps: int
    matcher_steps: int = 1500
    presets: tuple[str, ...] = ("small-8x", "small-16x")
    modes: tuple[str, ...] = ("recon", "match")
    rate_bit_m2: float = 2.2

    def __post_init__(self) -> None:
        if self.steps < 1 or self.matcher_steps < 1 or not self.presets or not self.modes:
            raise ConfigError(f"{self}", "give positive steps, and presets and modes")
        shapes = {embedding_of(name) for name in self.presets}
        if len(shapes) > 1:
            raise ConfigError(f"the presets {', '.join(self.presets)} embed differently", "give presets of one size")


def embedding_of(preset: str) -> tuple[tuple[int, ...], int]:
    """What decides the shape of a preset's embeddings."""
    sizes = preset_named(preset)
    return sizes.unet_widths, sizes.embedding_channels


def train_variants(
    variants: Variants,
    places: TrainingPlaces,
    folder: Path,
    given: Sequence[Bundle] = (),
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Bundle]:
    """Train every preset with every objective, all from the same matcher.

    Args:
        variants: what to train.
        places: training pairs.
        folder: keeps the runs; an interrupted one goes on, a finished one is read.
        given: the first that can fold, embeds as the presets do and has the pairs' resolution lends its matcher.
        report: called with steps done and in all, over all variants.

    Returns:
        One bundle a variant, coder fitted and rate measured, named ``ablation-MODE-NNx``.
    """
    first = preset_named(variants.presets[0])
    lender = next((b for b in given if _lends(b, variants, places)), None)
    runs = len(variants.presets) * len(variants.modes)
    before = variants.matcher_steps if lender is None else 0
    total = before + runs * variants.steps
    if lender is not None:
        matcher = lender.model
    else:
        settings = places.settings(mode="match", matcher_steps=variants.matcher_steps, codec_steps=0)
        run = run_folder(folder, f"matcher-{first.name}", None, places)
        matcher = trained(first, None, places, settings, run, lambda done, _: report(done, total))
    bundles: list[Bundle] = []
    for preset in variants.presets:
        for mode in variants.modes:
            done = before + len(bundles) * variants.steps
            settings = places.settings(
                mode=mode, matcher_steps=0, codec_steps=variants.steps, rate_bit_m2=variants.rate_bit_m2
            )
            start = with_matcher(preset, matcher)
            run = run_folder(folder, f"{mode}-{preset}", lender, places)
            model = trained(start.preset, start, places, settings, run, from_step(report, done, total))
            provenance = {
                "mode": mode,
                "preset": preset,
                "steps": variants.steps,
                "matcher": lender.name if lender is not None else f"{variants.matcher_steps} steps",
                "source": places.name,
            }
            name = f"ablation-{mode}-{start.preset.downsample}x"
            bundles.append(with_coder(model, places, name, provenance))
    return bundles


def _lends(bundle: Bundle, variants: Variants, places: TrainingPlaces) -> bool:
    preset = bundle.model.preset
    alike = (preset.unet_widths, preset.embedding_channels) == embedding_of(variants.presets[0])
    return bundle.can_fold and alike and abs(bundle.resolution_m / places.resolution_m - 1) < 0.01


def with_matcher(preset: str, matcher: LidarModel) -> LidarModel:
    """New codec networks, with a fixed seed, around the embeddings of a trained matcher."""
    import torch

    torch.manual_seed(0)
    model = LidarModel(preset_named(preset))
    model.map_embedding.load_state_dict(matcher.map_embedding.state_dict())
    model.sweep_embedding.load_state_dict(matcher.sweep_embedding.state_dict())
    model.log_temperature.data.copy_(matcher.log_temperature.data)
    return model


def with_coder(model: LidarModel, places: TrainingPlaces, name: str, provenance: dict[str, Any]) -> Bundle:
    """Fit the coder on three quarters of up to 200 pairs and measure the rate on the rest, as the bundle will be read.

    Raises:
        ModelError: the held-out maps show no ground.
    """
    count = min(len(places.pairs), _CODER_PAIRS)
    blank = np.zeros((model.preset.groups, 2, 2), np.uint8)
    coder = ContextModel.fit([blank], model.preset.group_channels)
    draft = quantized(Bundle(model.eval().cpu(), coder, places.resolution_m, 1.0, name))
    decoder = Decoder(draft)
    codes, ground_m2 = [], 0.0
    for k in range(count):
        raster = raster_of(places.pairs[k], places.resolution_m)
        codes.append(UnfoldedRaster(draft, decoder, raster).codes)
        ground_m2 += 0.0 if k % _HOLD_OUT else raster.observed_m2
    coder = ContextModel.fit([c for k, c in enumerate(codes) if k % _HOLD_OUT], model.preset.group_channels)
    held = range(0, count, _HOLD_OUT)
    bits = sum(8 * len(coder.encode(codes[k])) for k in held)
    if bits == 0 or ground_m2 == 0:
        raise ModelError(f"the {len(held)} held-out maps of {places.name} hold no ground", "give other pairs")
    return replace(draft, coder=coder, rate_bit_m2=bits / ground_m2, provenance=provenance)


def raster_of(pair: Pair, resolution_m: float) -> RasterMap:
    """A pair's map as a raster of its own."""
    height, width = pair.map_observed.shape
    grid = MetricGrid(0.0, height * resolution_m, resolution_m, height, width)
    return RasterMap(grid, pair.map_intensity, pair.map_observed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the variants from cached pairs and write OUTPUT/models/*.safetensors."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--pairs", type=Path, required=True, help="of python -m foldmap.town.lidar.pairs")
    parser.add_argument("--most-pairs", type=int, default=400)
    parser.add_argument("--steps", type=int, default=3000, help="of each variant")
    parser.add_argument("--model", type=Path, action="append", default=[], help="lends its matcher where it fits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    places = read_places(given.pairs, given.most_pairs, given.seed)
    lenders = [Bundle.from_bytes(path.read_bytes()) for path in given.model] or list(bundles_for(places.resolution_m))
    models = given.output / "models"
    models.mkdir(parents=True, exist_ok=True)

    def report(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            print(f"{done} of {total} steps", file=sys.stderr, flush=True)

    for bundle in train_variants(Variants(given.steps), places, given.output, lenders, report):
        (models / f"{bundle.name}.safetensors").write_bytes(bundle.to_bytes())
        print(models / f"{bundle.name}.safetensors")


if __name__ == "__main__":
    main()
