"""Pose files: trajectories of vehicles, poses of photos, answers of `foldmap localize`."""
