"""The commands below ``tutelage forecast``; a curve is forecast where no other is named."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from tutelage.cli._shared import app


class _CurveByDefault(TyperGroup):
    """Takes ``forecast CURVE.csv`` for ``forecast curve CURVE.csv``."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # click's own
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["curve", *args]
        return super().parse_args(ctx, args)


forecast_app = typer.Typer(
    cls=_CurveByDefault,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Where will this end? FILES forecasts their loss curves; the other commands forecast other things.",
)
app.add_typer(forecast_app, name="forecast")
