"""Pictures of dead leaves, and descriptors of one spot under many views: what `sift-1` learned from."""
