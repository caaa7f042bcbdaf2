"""Rows that tasks read: declared by their public columns, then stored as a file that fits them.

What is wrong with a file is told to whoever stores it, by column and row: that is the data's owner. Nobody else is told
anything, and no task fails later on rows that do not fit.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request

from accounting.ledger.by_home import Tasks
from accounting.ledger.store import ConflictError
from accounting.ledger.tasks import StoredFile
from accounting.values import InvalidValueError
from deployments.synthesis.discovery_plan import roughly
from deployments.synthesis.files import read_table
from deployments.synthesis.outline import outline_from_wire, outline_to_wire
from deployments.synthesis.schema import Schema
from deployments.training.folders import Folders, private_folder, write_private
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.identifiers import NAME_RULE, valid_name
from serve_app.problems import Code, Problem, invalid, unavailable
from serve_app.requests import MAX_BULK_BODY, body_of, described, plain, read_asgi_body
from serve_app.routes.access import permission_by
from serve_app.schemas import RowsSchemaBody

MAX_FILE = 256 * 1024 * 1024
"""Bytes of a file of rows over HTTP."""
MAX_SCHEMA = 150_000
"""Characters. What is to be done is kept with the hold, columns included."""
FORMATS = {"text/csv": "csv", "application/vnd.apache.parquet": "parquet"}


def files_router(verifier: TokenVerifier, tasks: Callable[[], Tasks], folders: Folders) -> APIRouter:
    """The routes below ``generators/dataset``, but for ``generate``."""
    router = APIRouter()
    may = permission_by(verifier)
    Storing = Annotated[Principal, may(Action.STORE_ROWS)]  # noqa: N806 - a type
    Reading = Annotated[Principal, may(Action.READ_ROWS)]  # noqa: N806 - a type

    @router.put("/{dataset_id}", summary="Declare the public columns of rows", openapi_extra=described(RowsSchemaBody))
    async def declare(
        dataset_id: str,
        asking: Storing,
        body: Annotated[RowsSchemaBody, Depends(body_of(RowsSchemaBody, MAX_BULK_BODY))],
        tenant_id: str | None = None,
    ) -> dict[str, Any]:
        tenant = asking.tenant(tenant_id, Action.STORE_ROWS)
        try:
            outline = outline_from_wire({"columns": plain(body.columns)})
        except InvalidValueError as error:
            raise invalid(error.field.removeprefix("schema."), error.reason) from None
        text = msgspec.json.encode({"schema": outline_to_wire(outline)}).decode()
        if len(text) > MAX_SCHEMA:
            raise invalid("columns", f"must be at most {MAX_SCHEMA} characters: declare fewer values or bins")
        return _answer(await _added(tasks(), tenant, _named(dataset_id), text))

    @router.put(
        "/{dataset_id}/rows",
        summary="Store rows: CSV with a header, or Parquet",
        openapi_extra={"requestBody": {"required": True, "content": {name: {} for name in FORMATS}}},
    )
    async def store(dataset_id: str, request: Request, asking: Storing, tenant_id: str | None = None) -> dict[str, Any]:
        tenant = asking.tenant(tenant_id, Action.STORE_ROWS)
        known = await known_file(tasks(), tenant, dataset_id)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in FORMATS:
            raise invalid("Content-Type", f"must be {' or '.join(FORMATS)}")
        content = await read_asgi_body(request.receive, MAX_FILE)
        wire = msgspec.json.decode(known.body)
        found = await asyncio.to_thread(
            _stored, folders, tenant, content, FORMATS[kind], roughly(outline_from_wire(wire["schema"]))
        )
        text = msgspec.json.encode({"schema": wire["schema"]} | found).decode()
        return _answer(await _added(tasks(), tenant, dataset_id, text))

    @router.delete("/{dataset_id}/rows", summary="Delete all rows that were ever stored for a data set")
    async def delete(dataset_id: str, asking: Storing, tenant_id: str | None = None) -> dict[str, Any]:
        tenant = asking.tenant(tenant_id, Action.STORE_ROWS)
        known = await known_file(tasks(), tenant, dataset_id)
        text = msgspec.json.encode({"schema": msgspec.json.decode(known.body)["schema"]}).decode()
        # First it is no longer to be ordered from, then it goes.
        left = await _added(tasks(), tenant, dataset_id, text)
        latest = {file.dataset_id: _file_of(file.body) for file in await tasks().files(tenant)}
        gone = {_file_of(one.body) for one in await tasks().versions(tenant) if one.dataset_id == dataset_id}
        for digest, form in gone - set(latest.values()) - {(None, None)}:
            await asyncio.to_thread(folders.forget_rows, tenant, digest, form)
        return _answer(left)

    @router.get("", summary="The data sets that rows were declared for")
    async def listed(asking: Reading, tenant_id: str | None = None) -> dict[str, Any]:
        return {"datasets": [_answer(file) for file in await tasks().files(asking.tenant(tenant_id, Action.READ_ROWS))]}

    @router.get("/{dataset_id}", summary="What is known of a data set's rows")
    async def look(dataset_id: str, asking: Reading, tenant_id: str | None = None) -> dict[str, Any]:
        return _answer(await known_file(tasks(), asking.tenant(tenant_id, Action.READ_ROWS), dataset_id))

    return router


async def known_file(tasks: Tasks, tenant_id: str, dataset_id: str) -> StoredFile:
    """What is known of a data set's rows.

    Raises:
        Problem: If nothing was declared.
    """
    found = await tasks.file(tenant_id, _named(dataset_id))
    if found is None:
        detail = "No rows were declared for this data set. PUT its columns to generators/dataset/{id} first."
        raise Problem(Code.NOT_FOUND, detail, {"field": "dataset_id"})
    return found


async def _added(tasks: Tasks, tenant_id: str, dataset_id: str, text: str) -> StoredFile:
    try:
        return StoredFile(dataset_id, await tasks.add_file(tenant_id, dataset_id, text), text)
    except ConflictError:
        raise unavailable("Somebody else is storing rows or columns of this data set at the same moment") from None


def _named(dataset_id: str) -> str:
    if not valid_name(dataset_id):
        raise invalid("dataset_id", NAME_RULE)
    return dataset_id


def _stored(folders: Folders, tenant: str, content: bytes, form: str, schema: Schema) -> dict[str, Any]:
    if not content:
        raise invalid("body", "is empty: send the file")
    private_folder(folders.root)
    # Rows that nobody can use are not kept.
    with tempfile.TemporaryDirectory(dir=folders.root) as aside:
        path = Path(aside) / f"rows.{form}"
        write_private(path, content)
        try:
            table = read_table(path, schema)
        except InvalidValueError as error:
            raise invalid(error.field, error.reason) from None
    digest = folders.store_rows(tenant, content, form)
    return {"sha256": digest, "format": form, "rows": table.rows}


def _file_of(body: str) -> tuple[Any, Any]:
    """Digest and format of a file of rows; two data sets may share one."""
    known = msgspec.json.decode(body)
    return known.get("sha256"), known.get("format")


def _answer(file: StoredFile) -> dict[str, Any]:
    known = msgspec.json.decode(file.body)
    return {
        "dataset_id": file.dataset_id,
        "version": file.version,
        "rows": known.get("rows"),
        "format": known.get("format"),
        "sha256": known.get("sha256"),
        "columns": known["schema"]["columns"],
    }
