"""The document of the control API against the server that it describes."""
import json
import re

import jsonschema
import pytest

from harness.clients import connect_error, pair
from harness.netns import wait_for
from harness.world import FAR4, PUBLIC4, WORLD4
from test_control import http
from test_dns import ask

pytestmark = pytest.mark.hostd
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}


@pytest.fixture
def net(gateway, dns):
    """A hostd that has something to say of everything."""
    dns.records.update({"good.test": [("A", PUBLIC4)]})
    return gateway("--events", "all", "--deny", FAR4, "--set", "far=" + FAR4, publish=("0:80",))


@pytest.fixture
def document(net):
    return json.loads(call(net, "GET", "/v1/openapi.json")[2])


def call(net, method, path, body=None):
    """(status, type, body)"""
    payload = b"" if body is None else json.dumps(body).encode()
    head, answer = http(net, f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: "
                             f"{len(payload)}\r\n\r\n".encode() + payload)
    kind = re.search(r"(?i)content-type: (\S+)", head).group(1)
    return int(head.split()[1]), kind, answer


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method], item.get("parameters", [])


def resolved(document, node):
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def validate(document, value, schema):
    """References are to the whole document."""
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(
        value)


def url(path, parameters, optional=False):
    query = []
    for one in parameters:
        if one["in"] == "path":
            path = path.replace("{%s}" % one["name"], str(one["example"]))
        elif one.get("required") or (optional and "example" in one):
            query.append(f"{one['name']}={one['example']}".replace(" ", "%20"))
    return path + ("?" + "&".join(query) if query else "")


def expect(net, document, path, method, operation, address, body=None):
    """Asks, and finds the answer to be one that the document knows."""
    status, kind, answer = call(net, method.upper(), address, body)
    assert str(status) in operation["responses"], (method, address, status, answer)
    content = resolved(document, operation["responses"][str(status)])["content"]
    assert kind in content, (method, address, kind)
    validate(document, json.loads(answer), content[kind]["schema"])
    return status


def test_the_document_is_openapi_3_1_and_its_schemas_are_schemas(document):
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] and document["info"]["version"]
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    for reference in references:
        assert resolved(document, {"$ref": reference})
    used = {one.rpartition("/")[2] for one in references if "/schemas/" in one}
    assert used == set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path, _, operation, shared in operations(document):
        parameters = shared + operation.get("parameters", [])
        assert {one["name"] for one in parameters if one["in"] == "path"} == set(
            re.findall(r"{(\w+)}", path))
        for one in parameters:
            jsonschema.Draft202012Validator.check_schema(one["schema"])
            if "example" in one:
                validate(document, one["example"], one["schema"])
        for response in operation["responses"].values():
            for content in resolved(document, response)["content"].values():
                jsonschema.Draft202012Validator.check_schema(content["schema"])


def test_every_operation_answers_as_its_schema_says(net, world, document):
    ask(net, "good.test")
    ask(net, "missing.test")
    connect_error(net.guest.ns, FAR4, 80)
    done, far_done = pair(net.guest.ns, world.world, WORLD4)
    done.close(), far_done.close()
    client, server = pair(net.guest.ns, world.world, WORLD4)
    # What deletes comes after what it is to delete.
    order = sorted(operations(document), key=lambda one: ("put", "get", "delete").index(one[1]))
    with client, server:
        for path, method, operation, shared in order:
            parameters = shared + operation.get("parameters", [])
            body = operation.get("requestBody")
            example = body and body["content"]["application/json"]["example"]
            if body:
                validate(document, example, body["content"]["application/json"]["schema"])
            again = document["paths"][path].get("put", {}).get("requestBody")
            for address in {url(path, parameters), url(path, parameters, optional=True)}:
                if path == "/v1/flows/{id}":
                    flow = json.loads(call(net, "GET", "/v1/flows")[2])["flows"][-1]["id"] \
                        if method == "get" else 1
                    address = path.replace("{id}", str(flow))
                if method == "delete" and again:
                    call(net, "PUT", path, again["content"]["application/json"]["example"])
                status = expect(net, document, path, method, operation, address, example)
                assert status == 200, (method, address, status)

    def kinds():
        return {one["event"] for one in json.loads(call(net, "GET", "/v1/events")[2])["events"]}
    wait_for(lambda: {"denied", "allowed", "closed"} <= kinds(), what="events of every kind")


def test_what_makes_no_sense_is_answered_as_the_document_says(net, document):
    for path, method, operation, shared in operations(document):
        parameters = shared + operation.get("parameters", [])
        for one in parameters:
            if one["schema"].get("type") == "string" and "enum" not in one["schema"]:
                wrong = "a%20b"
            else:
                wrong = "nonsense"
            if one["in"] == "path":
                address = path.replace("{%s}" % one["name"], wrong)
            else:
                others = [other for other in parameters if other is not one]
                address = url(path, others)
                address += ("&" if "?" in address else "?") + f"{one['name']}={wrong}"
            if one["name"] in ("follow", "value", "flows"):
                continue        # any value goes; and what comes before the flows is judged first
            assert expect(net, document, path, method, operation, address) == 400, address
        if "requestBody" in operation:
            assert expect(net, document, path, method, operation, path, ["no object"]) == 400
            assert expect(net, document, path, method, operation, path, {"unknown": 1}) == 400


def test_no_path_takes_a_method_that_the_document_lacks(net, document):
    for path, item in document["paths"].items():
        address = url(path, item.get("parameters", []))
        for method in ("POST", "PATCH", "PUT", "DELETE", "GET", "OPTIONS"):
            if method.lower() in item:
                continue
            head, body = http(net, f"{method} {address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert head.startswith("HTTP/1.1 405 "), (method, address)
            allowed = re.search(r"(?i)allow: ([A-Z, ]+)", head).group(1).split(", ")
            assert sorted(allowed) == sorted(one.upper() for one in METHODS & item.keys())
            validate(document, json.loads(body), document["components"]["schemas"]["Problem"])
