"""Layouts of public datasets of visual localization, after their owners' documentation: one file each."""

from foldmap.formats.datasets.aachen import read_aachen
from foldmap.formats.datasets.cambridge import read_cambridge, read_cambridge_nvm
from foldmap.formats.datasets.eth_microsoft import read_eth_microsoft
from foldmap.formats.datasets.layout import Dataset
from foldmap.formats.datasets.seven_scenes import read_seven_scenes

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
