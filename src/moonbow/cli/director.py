"""`moonbow director`: look at which door the world's clients are sent to, and change it."""

from __future__ import annotations

import typer

from . import director_map

app = typer.Typer(help="Which door clients are sent to, and why.", no_args_is_help=True)
app.add_typer(director_map.app, name="map")
