"""Drives: folders with a drive.json and whatever sensors a vehicle had."""
