"""What was answered, judged: against the truth, as a calibration, as a page."""
