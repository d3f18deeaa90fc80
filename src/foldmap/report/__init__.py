"""Level 6: pictures, and one self-contained page of them."""

from foldmap.report.figures import accuracy_plot, error_cdf_plot, failure_plot, trajectory_plot
from foldmap.report.page import Page
from foldmap.report.strips import code_mosaic, embedding_image, heatmap, intensity_image, strip

__all__ = [
    "Page",
    "accuracy_plot",
    "code_mosaic",
    "embedding_image",
    "error_cdf_plot",
    "failure_plot",
    "heatmap",
    "intensity_image",
    "strip",
    "trajectory_plot",
]
