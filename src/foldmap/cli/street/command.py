"""``foldmap street``: lane graphs that fit images, images that fit lane graphs, where one is, and what has changed."""

from __future__ import annotations

from foldmap.cli.street import localize as street_localize
from foldmap.cli.street import map2pix as street_map2pix
from foldmap.cli.street import retrieve as street_retrieve
from foldmap.cli.street import update as street_update
from foldmap.cli.verbs import App

app = App(help="Work with street maps: retrieve, localize, update, expand, map2pix.", no_args_is_help=True)


@app.callback()
def _street() -> None:
    """Work with street maps: retrieve, localize, update, expand, map2pix."""


app.command(short_help="The lane graphs that fit images.", epilog=street_retrieve.EXAMPLES)(street_retrieve.retrieve)
app.command(short_help="Where in the street map.", epilog=street_localize.EXAMPLES)(street_localize.localize)
app.command(short_help="What has changed since the map was made.", epilog=street_update.UPDATE_EXAMPLES)(
    street_update.update
)
app.command(short_help="Add lanes where the map has none.", epilog=street_update.EXPAND_EXAMPLES)(street_update.expand)
app.command(short_help="The images that fit a lane graph.", epilog=street_map2pix.EXAMPLES)(street_map2pix.map2pix)
