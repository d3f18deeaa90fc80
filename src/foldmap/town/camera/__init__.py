"""The town's cameras: what they see, exactly."""
