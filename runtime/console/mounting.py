"""Adding the console to an app that has the API of a saga."""

from sanic import Blueprint

from ..settings import Settings
from ..web.app import App
from .assets import ROOT


def mount(app: App, settings: Settings) -> None:
    """Add the console to an app before it starts, unless it has no saga or the settings say no."""
    blueprints = [one for one in app.blueprints.values() if hasattr(one.ctx, "saga_api")]
    apis = {one.ctx.saga_api.service.saga.name: one.ctx.saga_api for one in blueprints}
    if not apis or settings.saga_console == "off":
        return
    # Only now, with the templates and all else that they bring: most adapters have no saga.
    from .actions import Actions
    from .functions import Functions
    from .letters import Letters
    from .pages import Pages

    console = Blueprint("console", url_prefix=ROOT)
    pages = Pages(settings, apis, app.ctx.service)
    pages.add_to(console)
    Functions(settings, pages).add_to(console)
    actions = Actions(pages)
    actions.add_to(console)
    if pages.letters_known:
        Letters(settings, pages, actions).add_to(console)
    app.blueprint(console)
