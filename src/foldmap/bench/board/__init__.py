"""The scoreboard's rows: each measures some figures of the issue afresh and says whether they are met."""
