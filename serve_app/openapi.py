"""One OpenAPI document for the whole service, whichever deployment answers a path."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serve_app import schemas
from serve_app.event_schema import event_schema
from serve_app.problems import Code
from serve_app.routes.hot import HotFirst
from serve_app.service import PREFIX, VERSION, Service

_STRUCTS = (
    schemas.AllocateBody,
    schemas.AllocateBatchBody,
    schemas.AllocateAnswer,
    schemas.ConsumeBody,
    schemas.SettleBody,
    schemas.CommitBody,
    schemas.AdjustBody,
    schemas.BudgetBody,
    schemas.DatasetBody,
    schemas.LegalHoldBody,
    schemas.ApplyBody,
    schemas.ApplyBatchBody,
    schemas.SelectBody,
    schemas.PreviewBody,
    schemas.PlanBody,
    schemas.TrainingBody,
    schemas.GenerateBody,
    schemas.RowsSchemaBody,
    schemas.ReportBody,
)
_OPEN_PATHS = ("/health/", "/.well-known/", "/openapi.json")


def openapi_document(service: Service, front: FastAPI) -> dict[str, Any]:
    """The document: FastAPI's own description of each app, the hot routes beside it, and the shared schemas."""
    # Here, because it brings along what each deployment needs, and because the front is one of them.
    from serve_app.apps import APPS

    apps = [(front, "") if not app.prefix else (_fastapi(app.create(service)), app.prefix) for app in APPS]
    paths: dict[str, Any] = {}
    components: dict[str, Any] = {}
    for app, prefix in apps:
        part = get_openapi(title=app.title, version=VERSION, routes=app.routes)
        components |= part.get("components", {}).get("schemas", {})
        paths |= {prefix + path.replace(":path}", "}"): described for path, described in part["paths"].items()}
    paths |= {f"{PREFIX}/budget{path}": described for path, described in _hot_paths().items()}
    _, structs = schemas.json_schema(*_STRUCTS)
    for path, operations in paths.items():
        if path.startswith(_OPEN_PATHS):
            for operation in operations.values():
                operation["security"] = []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Privacy engine",
            "version": VERSION,
            "description": "Differential-privacy budgets, mechanisms and proofs. Errors are RFC 9457 problem documents "
            f"with a stable `code`: {', '.join(Code)}.",
        },
        "servers": [{"url": service.settings.base_url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": components | structs | {"Event": event_schema()},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _fastapi(app: FastAPI | HotFirst) -> FastAPI:
    return app.app if isinstance(app, HotFirst) else app


def _hot_paths() -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Same key, same request: the first answer again. Default: the body's operation_id, else job_id.",
    }
    refusals = {
        "402": {"description": "budget_exhausted"},
        "422": {"description": "invalid_request, operation_limit or idempotency_mismatch"},
        "503": {"description": "unavailable: repeat with the same key"},
    }
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/AllocateAnswer"}}}
    admitted = {"description": "admitted, or a replay of what was", "content": answer}
    return {
        "/allocate": {
            "post": {
                "summary": "Spend or hold budget",
                "parameters": [key],
                "requestBody": _body("AllocateBody"),
                "responses": {"200": admitted, **refusals},
            }
        },
        "/allocate:batch": {
            "post": {
                "summary": "Many allocations, each with its own outcome",
                "parameters": [key],
                "requestBody": _body("AllocateBatchBody"),
                "responses": {"200": {"description": "`results`, one for each allocation, in order"}},
            }
        },
    }


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}
