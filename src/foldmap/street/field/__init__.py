"""The lane field: graphs drawn, images read by a network, both compared as spectra."""
