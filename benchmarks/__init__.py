"""The scoreboard and what makes the figures of the docs: measured afresh, outside the installed package."""
