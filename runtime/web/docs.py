"""The docs page: Swagger UI, every file of it from this machine."""

from sanic import Blueprint, HTTPResponse, Request, html
from swagger_ui_bundle import swagger_ui_path

from .routes import get

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>API docs</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# The bundled Swagger UI reads OpenAPI 3.0 only; it renders our document well once told it is that.
SCRIPT = """fetch("/openapi.json").then((answer) => answer.json()).then((document) => {
  const spec = {...document, openapi: "3.0.3"};
  SwaggerUIBundle({spec, dom_id: "#swagger-ui", validatorUrl: null});
});
"""
ASSETS = ("favicon-32x32.png", "swagger-ui.css", "swagger-ui-bundle.js")
POLICY = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'"

docs = Blueprint("docs", url_prefix="/docs")
for name in ASSETS:
    docs.static(f"/{name}", swagger_ui_path / name, name=name.replace(".", "_"))


@get(docs, "/")
async def get_page(_: Request) -> HTTPResponse:
    """Return the page."""
    return html(PAGE, headers={"Content-Security-Policy": POLICY})


@get(docs, "/start.js")
async def get_script(_: Request) -> HTTPResponse:
    """Return the script that starts Swagger UI; a policy may forbid it inside the page."""
    return HTTPResponse(SCRIPT, content_type="text/javascript; charset=utf-8")
