"""``foldmap train``: models of one's own."""

from foldmap.cli.train import lidar, street, visual
from foldmap.cli.verbs import App

app = App(help="Train models.", no_args_is_help=True)


@app.callback()
def _train() -> None:
    """Train models."""


app.command("lidar", short_help="Train a matcher and codec of raster maps.", epilog=lidar.EXAMPLES)(lidar.lidar)
app.command("visual", short_help="Train a descriptor code of scenes.", epilog=visual.EXAMPLES)(visual.visual)
app.command("street", short_help="Train a street model.", epilog=street.EXAMPLES)(street.street)
