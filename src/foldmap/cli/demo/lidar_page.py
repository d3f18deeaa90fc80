"""What ``foldmap demo``'s report shows of the lidar layer."""

from typing import Any

import numpy as np

from foldmap.bench.lidar.baselines.image_codecs import ImageMapCodec
from foldmap.cli.demo.lidar import DemoDrive
from foldmap.cli.show import binary_channels
from foldmap.lidar.fold import LidarReport
from foldmap.lidar.source import RasterMap
from foldmap.lidar.unfold import FoldedLidar
from foldmap.metrics import pose_errors
from foldmap.report import (
    Page,
    code_mosaic,
    embedding_image,
    error_cdf_plot,
    heatmap,
    intensity_image,
    strip,
    trajectory_plot,
)
from foldmap.report.strips import Panel

_CROP_M = 40.0


def lidar_page(
    raster: RasterMap,
    folded: FoldedLidar,
    folded_as: LidarReport,
    driven: DemoDrive,
    summary: dict[str, Any],
    options: str,
) -> Page:
    """One self-contained page: map, embeddings, codes, a sweep, its scores, the drive, the bytes; not yet written."""
    lead = (
        f"A generated street was mapped on one day ({summary['observed_m2']:,.0f} m² of ground), folded to "
        f"{folded_as.bit_per_m2:.2f} bit/m², and localized in on another day with another lidar."
    )
    page = Page("foldmap demo", lead).command(f"foldmap demo {options}")
    page.heading("Where the bytes go").table(
        size_rows(raster, folded_as, summary["folded_file_bytes"]),
        {"what": "what", "bytes": "bytes", "bit_per_m2": "bit/m² observed", "bpp": "bit/px of raster"},
        "Whole raster at its native resolution; the file also holds the networks that a localizer needs.",
    )
    page.heading("Localization on another day").table(
        [summary],
        {
            "steps": "steps",
            "answered": "answered",
            "median_error_cm": "median [cm]",
            "p95_error_cm": "p95 [cm]",
            "steps_per_second": "steps/s",
        },
        "Errors of all steps, the first ones included; a step without an answer has infinite error.",
    )
    errors = pose_errors(driven.truth, [estimate.pose for estimate in driven.estimates])
    reckoned = pose_errors(driven.truth, list(driven.dead_reckoned))
    nowhere = (float("nan"), float("nan"))
    xy = {
        "foldmap": np.array([(e.pose.x_m, e.pose.y_m) if e.pose else nowhere for e in driven.estimates]),
        "odometry alone": np.array([(pose.x_m, pose.y_m) for pose in driven.dead_reckoned]),
    }
    page.figure(
        trajectory_plot(np.array([(pose.x_m, pose.y_m) for pose in driven.truth]), xy, "Drive 2 from above"),
        "The filter starts from a GPS-like pose and is carried by noisy odometry.",
    )
    page.figure(
        error_cdf_plot({"foldmap": errors.total_m, "odometry alone": reckoned.total_m}),
        "Share of the steps below an error.",
    )
    page.heading("What the codec sees")
    for caption, picture in pictures(raster, folded, driven):
        page.figure(picture, caption)
    return page


def size_rows(raster: RasterMap, folded_as: LidarReport, file_bytes: int) -> list[dict[str, Any]]:
    """Bytes of the map as PNG-16, as WebP-50, and folded."""
    sizes = {
        "PNG, 16 bit": len(ImageMapCodec("png16").encode(raster)),
        "WebP, quality 50": len(ImageMapCodec("webp", 50).encode(raster)),
        "folded file on disk": file_bytes,
        "folded tiles (payload)": folded_as.payload_bytes,
    }
    return [
        {
            "what": name,
            "bytes": size,
            "bit_per_m2": 8 * size / folded_as.observed_m2,
            "bpp": 8 * size / folded_as.raster_px,
        }
        for name, size in sizes.items()
    ]


def pictures(raster: RasterMap, folded: FoldedLidar, driven: DemoDrive) -> list[tuple[str, bytes]]:
    """Strips around one step of the drive, with captions."""
    shown = driven.shown
    if shown is None:
        return []
    truth, observation, found = shown.truth, shown.observation, shown.found
    side = max(folded.scale, round(_CROP_M / raster.grid.resolution_m) // folded.scale * folded.scale)
    row, col = raster.grid.pixel_of(np.array([[truth.x_m, truth.y_m]]))[0]
    top = int((row - side / 2) // folded.scale) * folded.scale
    left = int((col - side / 2) // folded.scale) * folded.scale
    crop = raster.read(top, left, side, side)
    decoded, _ = folded.embedding(folded.grid.window(top, left, side, side))
    codes = folded.codes(top // folded.scale, left // folded.scale, side // folded.scale, side // folded.scale)
    made = [
        (
            "The map, and the embedding decoded from its code.",
            strip(
                [
                    ("map", intensity_image(crop.intensity, crop.observed)),
                    ("decoded embedding", embedding_image(decoded.numpy())),
                ],
                height_in=3.4,
            ),
        ),
        ("The binary channels of the code, all that is stored.", code_mosaic(binary_channels(folded, codes))),
    ]
    panels = [
        Panel("observation", intensity_image(observation.intensity, observation.observed)),
        Panel("its embedding", embedding_image(folded.embed_observation(observation).numpy())),
    ]
    if found.match is not None:
        error = shown.prior.inverse() @ truth
        pose = found.estimate.pose
        estimated = shown.prior.inverse() @ pose if pose is not None else None
        panels.append(
            heatmap(
                found.match.volume.max(0),
                raster.grid.resolution_m,
                (error.x_m, error.y_m),
                None if estimated is None else (estimated.x_m, estimated.y_m),
                "scores around a prior",
            )
        )
    caption = "What the vehicle sees at one step, in its own axes, and the matching scores around a displaced prior."
    return [*made, (caption, strip(panels, height_in=2.8))]
