"""The OpenAPI document and the docs page."""

import re

import pytest

CRUD = {
    "user": ("/users", "/users/{user_id}", "deposits"),
    "product": ("/products", "/products/{product_id}", "deliveries"),
}
ROUTES = {
    **{
        service: {
            ("get", many): {200, 422},
            ("post", many): {201, 415, 422} | ({409} if service == "user" else set()),
            ("get", one): {200, 304, 404},
            ("put", one): {200, 404, 412, 415, 422} | ({409} if service == "user" else set()),
            ("delete", one): {204, 404, 412},
            ("post", f"{one}/{more}"): {201, 404, 409, 415, 422},
        }
        for service, (many, one, more) in CRUD.items()
    },
    "order": {
        ("get", "/orders"): {200, 422},
        ("post", "/orders"): {201, 415, 422},
        ("get", "/orders/{order_id}"): {200, 304, 404},
        ("delete", "/orders/{order_id}"): {204, 404, 409, 412},
    },
    "orchestrator": {
        ("post", "/orders"): {200, 202, 409, 415, 422},
        ("get", "/sagas"): {200, 422},
        ("get", "/sagas/events"): {200, 422},
        ("get", "/sagas/{saga_id}"): {200, 404},
        ("get", "/sagas/{saga_id}/events"): {200, 204, 404, 422},
        ("delete", "/sagas/{saga_id}"): {202, 404, 409},
        ("post", "/sagas/{saga_id}/retry"): {202, 404, 409},
        ("post", "/sagas/{saga_id}/skip"): {202, 404, 409, 415, 422},
    },
}
ANYWHERE = {400, 413, 421, 503}
COMMON = {
    ("get", "/health"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
}


def operations(document):
    return {
        (method, path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def references(node):
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from references(child)


@pytest.fixture(params=ROUTES)
def service(request):
    return request.param


@pytest.fixture
def document(all_apis, service):
    return all_apis[service].get("/openapi.json").json


def test_document_is_of_openapi_3_1(document):
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"]


def test_every_route_is_there_with_every_status(document, service):
    found = operations(document)
    assert set(found) == set(ROUTES[service]) | COMMON
    for route, statuses in ROUTES[service].items():
        anywhere = ANYWHERE if route[0] == "get" else ANYWHERE | {403}
        assert {int(status) for status in found[route]["responses"]} == statuses | anywhere


def test_what_headers_may_be_is_declared(all_apis):
    paths = all_apis["orchestrator"].get("/openapi.json").json["paths"]
    start = paths["/orders"]["post"]
    key = next(p for p in start["parameters"] if p["name"] == "Idempotency-Key")
    assert key["description"]
    assert re.search(key["schema"]["pattern"], "k" * 255)
    assert not re.search(key["schema"]["pattern"], "")
    answered = start["responses"]["202"]["headers"]
    assert answered["Location"]["required"]
    assert "required" not in answered["Preference-Applied"]
    assert start["responses"]["503"]["headers"]["Retry-After"]["required"]


def test_path_parameters_are_declared(document):
    for (_, path), operation in operations(document).items():
        declared = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert declared == re.findall(r"{(\w+)}", path)


def test_bodies_and_errors_have_schemas(document):
    for (method, path), operation in operations(document).items():
        reads = method in ("post", "put") and not path.endswith("/retry")
        assert ("requestBody" in operation) == reads
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                schema = response["content"]["application/problem+json"]["schema"]
                plain, narrowed = schema["allOf"]
                assert plain == {"$ref": "#/components/schemas/Problem"}
                assert narrowed["properties"]["code"]["enum"]


def test_every_type_of_problem_has_a_paragraph(all_apis, service, document):
    codes = {"internal_error", "method_not_allowed"}
    for operation in operations(document).values():
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                for part in content["schema"].get("allOf", [])[1:]:
                    codes |= {*part["properties"]["code"]["enum"]}
    page = all_apis[service].get("/docs/problems")
    assert codes <= {*re.findall(r'<h2 id="([a-z_]+)">', page.text)}
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_every_reference_leads_somewhere(document):
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) <= known
    assert "$defs" not in str(document)


def test_links_lead_to_operations_and_their_parameters(document):
    known = {o["operationId"]: o for o in operations(document).values()}
    for operation in known.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                target = known[link["operationId"]]
                assert set(link["parameters"]) == {
                    p["name"] for p in target["parameters"] if p["in"] == "path"
                }


def test_started_saga_is_linked_with_what_can_be_done_with_it(all_apis):
    start = all_apis["orchestrator"].get("/openapi.json").json["paths"]["/orders"]["post"]
    for status in ("200", "202"):
        links = start["responses"][status]["links"]
        done = {"show", "cancel", "retry", "skip"}
        assert set(links) == {f"{verb}_place_order" for verb in done}


def test_operations_have_names_and_summaries(document):
    names = [operation["operationId"] for operation in operations(document).values()]
    assert len(names) == len(set(names))
    assert all(operation["summary"] for operation in operations(document).values())


def test_docs_page_needs_nothing_from_elsewhere(all_apis, service):
    api = all_apis[service]
    page = api.get("/docs")
    assert page.status_code == 200
    assert "<script>" not in page.text
    assets = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert len(assets) == 4
    for asset in assets:
        assert asset.startswith("/docs/")
        response = api.get(asset)
        assert response.status_code == 200
        assert response.content
    assert "default-src 'self'" in page.headers["content-security-policy"]
