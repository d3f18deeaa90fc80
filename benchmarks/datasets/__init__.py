"""Layouts of public datasets of visual localization, after their owners' documentation: one file each."""

from benchmarks.datasets.aachen import read_aachen
from benchmarks.datasets.cambridge import read_cambridge, read_cambridge_nvm
from benchmarks.datasets.eth_microsoft import read_eth_microsoft
from benchmarks.datasets.layout import Dataset
from benchmarks.datasets.seven_scenes import read_seven_scenes

READERS = {
    "aachen": read_aachen,
    "cambridge": read_cambridge,
    "7scenes": read_seven_scenes,
    "eth-microsoft": read_eth_microsoft,
}
"""Dataset -> what lays out one of its scenes, given a folder."""

__all__ = [
    "READERS",
    "Dataset",
    "read_aachen",
    "read_cambridge",
    "read_cambridge_nvm",
    "read_eth_microsoft",
    "read_seven_scenes",
]
