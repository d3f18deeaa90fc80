"""Lidar sweeps (LAS, LAZ, PCD, KITTI .bin), and the one door for recorded drives."""
