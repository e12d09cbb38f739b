"""The docs: Swagger UI, every file of it from this machine, and what each type of problem is."""

import re
from html import escape

from sanic import Blueprint, HTTPResponse, Request, html
from swagger_ui_bundle import swagger_ui_path

from .problem_types import ProblemType
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
PROBLEM_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>Problems</title>
<link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
<h1>Problems</h1>
{paragraphs}
</body>
</html>
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


@get(docs, "/problems")
async def get_problems(request: Request) -> HTTPResponse:
    """Return a page with a paragraph about each type of problem that this adapter may have."""
    paragraphs = "\n".join(map(_paragraph, request.app.ctx.problem_types))
    page = PROBLEM_PAGE.format(paragraphs=paragraphs)
    return html(page, headers={"Content-Security-Policy": POLICY})


def _paragraph(one: ProblemType) -> str:
    head = f'<h2 id="{escape(one.code)}">{_marked(one.title)}</h2>'
    return f"{head}\n<p><code>{escape(one.code)}</code> ({one.status}). {_marked(one.about)}</p>"


def _marked(text: str) -> str:
    return re.sub("`(.+?)`", r"<code>\1</code>", escape(text))
