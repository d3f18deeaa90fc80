"""Level 6: the generated town: streets and paint, the sensors that see them, maps, drives and training pairs."""

from foldmap.town.lanes import TownLanes, lane_graph, street_lanes, wander
from foldmap.town.lidar.drive import drive
from foldmap.town.lidar.sensors import Lidar, build_lidar
from foldmap.town.world import TownWorld

__all__ = ["Lidar", "TownLanes", "TownWorld", "build_lidar", "drive", "lane_graph", "street_lanes", "wander"]
