"""Models for table 4 of the paper: codecs trained for reconstruction or for the match, 8x or 16x, one matcher for all.

python -m benchmarks.lidar.ablations --pairs PAIRS --steps 3000 -o out/ablations
foldmap bench lidar --sweeps drive/ --poses poses.txt --ablations out/ablations/models -o out/bench
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from foldmap.bench.lidar.baselines.tuning import TrainingPlaces, from_step, read_places, run_folder, trained
from foldmap.errors import ConfigError
from foldmap.lidar.bundle import Bundle
from foldmap.lidar.defaults import bundles_for
from foldmap.lidar.fit_coder import fit_coder
from foldmap.lidar.model import LidarModel
from foldmap.lidar.pairs.sampling import SomePairs
from foldmap.lidar.presets import preset_named

_CODER_PAIRS = 200


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
            pairs = SomePairs(places.pairs, range(min(len(places.pairs), _CODER_PAIRS)))
            bundles.append(fit_coder(model, pairs, places.resolution_m, name, provenance).bundle)
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
