"""hloc: HDF5 files of features, text lists, results."""
