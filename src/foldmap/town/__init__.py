"""Level 5: the generated town: streets and paint, the sensors that see them, maps, drives and training pairs.

`TownWorld` knows no sensor. `drive` yields sweeps of one day, `TownMap` is a `RasterSource` of many passes,
`sample_pair` (in `town.lidar.pairs`) draws map crops with queries for training, and `lane_graph` gives the directed
lanes.
"""

from foldmap.town.lanes import LaneGraph, lane_graph, street_lanes, wander
from foldmap.town.lidar.drive import drive
from foldmap.town.lidar.sensors import Lidar, build_lidar
from foldmap.town.lidar.townmap import TownMap
from foldmap.town.world import TownWorld

__all__ = ["LaneGraph", "Lidar", "TownMap", "TownWorld", "build_lidar", "drive", "lane_graph", "street_lanes", "wander"]
