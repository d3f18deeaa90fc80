"""Camera rings driven through the generated town: rendered street scenes with facades and traffic, and their lanes."""

import numpy as np

from foldmap.errors import ConfigError
from foldmap.geometry import SE2, SE3
from foldmap.street.graph.chains import resample
from foldmap.street.graph.window import AROUND, Window, cut
from foldmap.street.images.observation import CameraRing, LazyPairs, RingFrame, StreetPair
from foldmap.street.images.rig import surround_ring
from foldmap.street.paper.pairs import Jitter, relit
from foldmap.street.places import sample_places
from foldmap.street.source import LANE, LaneGraph
from foldmap.town.camera.ring_view import TownCells
from foldmap.town.hashing import block_rng
from foldmap.town.street.map import town_street_map
from foldmap.town.world import TownWorld
from foldmap.types import ByteArray

_DAYS = 12


class TownRingPairs(LazyPairs):
    """Frames of a ring that stands on the lanes of a town, rendered ray by ray.

    Each place has a day of its own: light, parked vehicles, exposure. Neighbouring places share what is traced of their
    surroundings, so reading in order is faster. Raises ConfigError: a camera with distortion, or no lane in reach.
    """

    def __init__(
        self,
        world: TownWorld,  # the town
        # pinhole cameras, at least 0.2 m above ground; seven around the roof where None
        ring: CameraRing | None = None,
        spacing_m: float = 8.0,  # between places along each lane
        window: Window = AROUND,  # of the graphs
        reach_m: float = 200.0,  # half side of the square whose lanes are driven, about the town's middle
        jitter: Jitter | None = None,  # for training; None renders every place as it is
    ) -> None:
        self.world = world
        self.ring = ring or surround_ring()
        for name, camera in zip(self.ring.names, self.ring.cameras, strict=True):
            if camera.model not in ("PINHOLE", "SIMPLE_PINHOLE"):
                raise ConfigError(f"{name} is a {camera.model} camera", "give pinholes to render the town with")
        self.window, self.jitter = window, jitter
        far = reach_m + window.radius_m
        self.map = town_street_map(world, -far, -far, far, far, name=f"town-{world.seed}")
        places = sample_places(self.map.graph, spacing_m)
        driven = (np.abs(places.xy_m) <= reach_m).all(1) & (self.map.graph.kind[places.edge] == LANE)
        self._places = places.take(driven)
        if not len(self):
            raise ConfigError(f"town {world.seed} has no lane within {reach_m:g} m", "take another seed or more reach")
        self._towns = TownCells(world)

    def __len__(self) -> int:
        return len(self._places)

    def places(self) -> list[tuple[str, SE2]]:
        """Map and world_SE2_ego of each pair before any jitter."""
        return [(self.map.name, pose) for pose in self._places]

    def graph(self, number: int) -> LaneGraph:
        """The truth of a pair before any jitter."""
        return self._graph_at(self._places.pose(number))

    def _graph_at(self, world_SE2_ego: SE2) -> LaneGraph:
        return resample(cut(self.map.graph, world_SE2_ego, self.window), 1.0)

    def render(self, number: int) -> StreetPair:
        """Render a pair (ConfigError: vehicles stand at that place on a dozen days)."""
        rng = block_rng(self.jitter.seed if self.jitter else 0, 91, self.world.seed, number)
        pose = self._places.pose(number)
        if self.jitter:
            pose = self.jitter.pose(pose, rng)
        frame = self._frame(pose, int(rng.integers(1 << 28)))
        seen = relit(frame, rng, 0.5 * self.jitter.light) if self.jitter and self.jitter.light > 0 else frame
        return StreetPair(seen, self._graph_at(pose), self.map.name, pose)

    def _frame(self, world_SE2_ego: SE2, first_day: int) -> RingFrame:
        town = self._towns.at(world_SE2_ego)
        lift = SE3.from_se2(world_SE2_ego, -self.ring.ground_z_m)
        poses = [lift @ SE3(pose) for pose in self.ring.vehicle_SE3_camera]
        for day in range(first_day, first_day + _DAYS):
            if all(town.is_open(pose.translation_m[:2], day, 0.2) for pose in poses):
                break
        else:
            place = f"({world_SE2_ego.x_m:.1f}, {world_SE2_ego.y_m:.1f})"
            raise ConfigError(f"no camera can stand at {place}", "use less jitter")
        images: list[ByteArray | None] = []
        for number, (camera, pose) in enumerate(zip(self.ring.cameras, poses, strict=True)):
            images.append(town.picture(camera, pose, day, shot_seed=number, colour=True).image)
        return RingFrame(self.ring, tuple(images))
