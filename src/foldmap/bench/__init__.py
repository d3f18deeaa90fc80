"""Level 6: baselines, protocols and the papers' tables: predict, keep, score, show."""

from foldmap.bench.baselines import ImageMapCodec, MapCodec, ThresholdMapCodec, standard_codecs
from foldmap.bench.cases import Benchmark, Case, Codec, Match, Matcher, Method, Query, Search
from foldmap.bench.drive import Drive, LeaveOutMaps, load_drive
from foldmap.bench.ncc_matcher import NccMatcher
from foldmap.bench.negatives import Negatives
from foldmap.bench.online_protocol import (
    OnlineLocalizer,
    OnlineProtocol,
    Step,
    TrackingLocalizer,
    online_row,
    run_online,
)
from foldmap.bench.predict import Prediction, Predictions, predict, predict_all
from foldmap.bench.protocol import DriveProtocol, GivenMapProtocol
from foldmap.bench.raster_protocol import RasterProtocol
from foldmap.bench.score import matching_row, storage_rows
from foldmap.bench.tables import write_matching, write_online

__all__ = [
    "Benchmark",
    "Case",
    "Codec",
    "Drive",
    "DriveProtocol",
    "GivenMapProtocol",
    "ImageMapCodec",
    "LeaveOutMaps",
    "MapCodec",
    "Match",
    "Matcher",
    "Method",
    "NccMatcher",
    "Negatives",
    "OnlineLocalizer",
    "OnlineProtocol",
    "Prediction",
    "Predictions",
    "Query",
    "RasterProtocol",
    "Search",
    "Step",
    "ThresholdMapCodec",
    "TrackingLocalizer",
    "load_drive",
    "matching_row",
    "online_row",
    "predict",
    "predict_all",
    "run_online",
    "standard_codecs",
    "storage_rows",
    "write_matching",
    "write_online",
]
