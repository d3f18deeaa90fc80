"""The town's lidars: sensors, drives, maps and pairs."""
