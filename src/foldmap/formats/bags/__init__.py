"""Bags of ROS messages: MCAP, rosbag2 folders, ROS 1; read as a drive's timed events, written from them."""
