"""Which images of a map a query resembles."""
