"""Ask a model server, as a client would: with the files that a pipeline reads."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from mlratchet.models.errors import ConfigurationError, DataError, InfrastructureError
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.schema.numbers import Mark, read_number
from mlratchet.models.serving.config import MOST_BYTES, ServingConfig
from mlratchet.models.serving.reading.written_numbers import written_number
from mlratchet.models.sources.csv import SUFFIXES
from mlratchet.models.sources.headless import names_itself
from mlratchet.models.sources.names_once import NameTwiceError, names_once
from mlratchet.models.sources.text_encoding import UTF16_MARKS

TABLES, LINES = SUFFIXES, (".jsonl", ".ndjson")
DELIMITERS = (",", ";", "\t", "|")
OTHER_TABLES = (".parquet", ".xlsx")  # of which the server would take the bytes for an image
TIMEOUT_S = 30.0
READY_S = 5.0
AT_ONCE = 256  # instances of a request
BODY = b'{"instances":[%s]}'

Named = tuple[str, Any]  # file or file:row, and the instance


class TooLargeError(DataError):
    """A request that the server does not take whole (413)."""


def predict_files(
    url: str | None,
    pipeline: str,
    files: Sequence[Path],
    *,
    withdrawn: str | None = None,
    tables: TableWriting | None = None,
) -> dict[str, Any]:
    """The predictions of the server at `url` for all that the files hold, with the names of the instances.

    `tables`: how tables are written, where a pipeline file says it. `withdrawn`: how a person took the pipeline out of
    service. Raises ``DataError`` for a 4xx and a file that holds no instance, and ``ConfigurationError`` where there is
    no server.
    """
    if withdrawn is not None:
        raise ConfigurationError(f"{pipeline} is {withdrawn}; {way_back(pipeline)}")
    if url is None:
        raise ConfigurationError(f"no server for {pipeline!r}; `ratchet run {pipeline}` promotes and deploys one")
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        refuse_unready(client, pipeline)
        described = asked(client, pipeline, "GET", "/openapi.json")
        takes = replace(takes_of(described), written=tables or TableWriting())
        instances = [one for file in files for one in instances_of(file, takes)]
        predictions: list[Any] = []
        answer: dict[str, Any] = {}
        for answer in answers_to(client, pipeline, [instance for _, instance in instances], **limits_of(described)):
            predictions += answer["predictions"]
    return {"predictions": predictions, "version": answer["version"], "instances": [name for name, _ in instances]}


def way_back(pipeline: str) -> str:
    """How a pipeline that was stopped or removed is served again."""
    return f"`ratchet deploy {pipeline}` starts it again"


def answers_to(
    client: httpx.Client, pipeline: str, instances: Sequence[Any], *, most: int, most_bytes: int
) -> Iterator[dict[str, Any]]:
    """The answers to as few requests as the server takes.

    It says how many instances and bytes; what else it limits, as the pixels of a request, shows by its refusal, and
    fewer are sent from then on. One instance alone is for the server to refuse.
    """
    written = [json.dumps(one, separators=(",", ":"), allow_nan=False).encode() for one in instances]
    at = 0
    while at < len(written):
        count = fitting(written[at : at + most], most_bytes)
        try:
            answer = asked(client, pipeline, "POST", "/predict", BODY % b",".join(written[at : at + count]))
        except TooLargeError:
            if count == 1:
                raise
            most = count // 2
            continue
        yield answer
        at += count


def fitting(written: Sequence[bytes], most_bytes: int) -> int:
    """How many of these instances, at least one, make a body of at most so many bytes."""
    size = len(BODY % b"")
    for count, one in enumerate(written):
        size += len(one) + (count > 0)  # the comma
        if size > most_bytes:
            return max(1, count)
    return len(written)


def refuse_unready(client: httpx.Client, pipeline: str) -> None:
    """Raises ``InfrastructureError`` for a server that has no version yet: what it says of its model is of none."""
    try:
        reply = client.get("/ready", timeout=READY_S)
    except httpx.HTTPError:
        return  # what is asked of it next is told as it is
    if reply.status_code == 503:
        raise InfrastructureError(
            f"{client.base_url} answers 503, it has no version to answer with ({reason_of(reply)}); see `ratchet logs "
            f"serve-{pipeline}`"
        )


def limits_of(described: dict[str, Any]) -> dict[str, int]:
    """Of one request to the server that is described; one of an earlier release says nothing of bytes."""
    post = described["paths"]["/predict"]["post"]
    return {
        "most": min(AT_ONCE, instances_in(described).get("maxItems", AT_ONCE)),
        "most_bytes": post.get(MOST_BYTES, ServingConfig().max_request_bytes),
    }


def asked(client: httpx.Client, pipeline: str, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    """The JSON of an answer."""
    url = client.base_url
    try:
        reply = client.request(method, path, content=body, headers={"content-type": "application/json"})
    except httpx.HTTPError as exc:
        raise InfrastructureError(
            f"{url}: {exc}; the server answers no more: `ratchet status`, `ratchet logs serve-{pipeline}`"
        ) from exc
    if 400 <= reply.status_code < 500:
        refused = TooLargeError if reply.status_code == 413 else DataError
        raise refused(f"{url} answered {reply.status_code}: {reply.text}")
    if reply.status_code != 200:
        why = reason_of(reply)
        raise InfrastructureError(
            f"{url} answered {reply.status_code}{f' ({why})' if why else ''}; see `ratchet logs serve-{pipeline}`"
        )
    answer: dict[str, Any] = reply.json()
    return answer


@dataclass(frozen=True, kw_only=True)
class TableWriting:
    """How the tables of a pipeline are written, as far as its file says; else UTF-8, a line of names and decimal
    points."""

    encoding: str = "utf-8-sig"
    delimiter: str | None = None  # None: as most names of columns are found
    header: tuple[str, ...] = ()
    decimals: Mapping[str, Mark] = field(default_factory=dict)  # by column
    decimal: Mark | None = None  # of every other column; None: a point
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by column: cells that mean "not given"

    def is_given(self, name: str, cell: Any) -> bool:
        """Whether a row has it."""
        return cell not in (None, "") and not (isinstance(cell, str) and cell in self.missing.get(name, ()))

    @classmethod
    def of(cls, spec: PipelineSpec) -> TableWriting:
        """As a pipeline file declares it: what a delivery may be, a client's file may be, too."""
        source, schema = spec.source, spec.example_schema
        fields = schema.fields if schema is not None else {}
        said: Mapping[str, Mark] | Mark | None = getattr(source, "decimal", None)
        marks: dict[str, Mark] = dict(said) if isinstance(said, Mapping) else {}
        marks |= {name: one.decimal for name, one in fields.items() if one.decimal}
        return cls(
            encoding=getattr(source, "encoding", None) or "utf-8-sig", delimiter=getattr(source, "delimiter", None),
            header=tuple(getattr(source, "header", None) or ()), decimals=marks,
            decimal=None if isinstance(said, Mapping) else said,
            missing={name: schema.missing_in(name) for name in fields} if schema is not None else {},
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Takes:
    """What a server takes of files, as it describes itself."""

    columns: tuple[str, ...] = ()  # of a table; empty where it takes none
    words: frozenset[str] = frozenset()  # columns whose cells are no numbers
    file: str | None = None  # the field of a picture or sound; None: there are several, or none
    written: TableWriting = field(default_factory=TableWriting)


def takes_of(described: dict[str, Any]) -> Takes:
    """By name, where an instance can be told by name."""
    items = instances_in(described)["items"]
    named: dict[str, Any] = next((one for one in items.get("oneOf", [items]) if one.get("properties")), {})
    fields: dict[str, Any] = named.get("properties", {})
    files = [name for name, one in fields.items() if one.get("contentEncoding") == "base64"]
    return Takes(
        columns=() if files else tuple(fields),
        words=frozenset(name for name, one in fields.items() if "string" in one.get("type", ())),
        file=files[0] if len(files) == 1 and set(named.get("required", ())) <= set(files) else None,
    )


def instances_in(described: dict[str, Any]) -> dict[str, Any]:
    """What a server says of a list of instances; one of an earlier release takes nothing else."""
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    told: dict[str, Any] = body.get("anyOf", [body])[0]["properties"]["instances"]
    return told


def instances_of(file: Path, takes: Takes) -> list[Named]:
    """The instances of a file: the rows of a table, the values of a JSON file, a picture or sound."""
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise DataError(f"{file}: cannot be read: {exc.strerror}") from exc
    suffix = file.suffix.lower()
    if suffix == ".json":
        held = value_of(data, str(file))
        if isinstance(held, dict) and set(held) == {"instances"} and isinstance(held["instances"], list):
            if not held["instances"]:
                raise DataError(f"{file}: holds no instance; expected a list of at least one")
            return [(f"{file}:{number}", one) for number, one in enumerate(held["instances"])]
        return [(str(file), held)]
    if suffix in TABLES:
        return rows_of_table(file, data, takes)
    if suffix in LINES:
        return rows_of_lines(file, data, takes)
    if suffix in OTHER_TABLES:
        raise DataError(f"{file}: {suffix[1:]} is not read here; send a .csv, or a row as a .json file")
    if takes.file is None:
        raise DataError(f"{file}: a file alone is no instance of this model; send a row as a .json file, see /docs")
    return [(str(file), {takes.file: base64.b64encode(data).decode()})]


def value_of(data: bytes, where: str) -> Any:
    """Of JSON. Raises ``DataError``."""
    try:
        return json.loads(data, parse_constant=finite, parse_float=finite, object_pairs_hook=names_once)
    except (ValueError, RecursionError) as exc:
        told = f"{exc}" if isinstance(exc, NotFiniteError | NameTwiceError) else f"not JSON: {exc}"
        raise DataError(f"{where}: {told}") from exc


def rows_of_lines(file: Path, data: bytes, takes: Takes) -> list[Named]:
    """The rows of a JSONL file: of every line's object what the model has by name; null, and what the pipeline
    file calls missing, is what the row lacks. Words may be numbers, truth values or nested, as in a delivery."""
    found: list[Named] = []
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            where = f"{file}:{number}"
            held = value_of(line, where)
            if not isinstance(held, dict):
                raise DataError(f"{where}: got {type(held).__name__}, expected a JSON object")
            known = {name: held[name] for name in takes.columns if takes.written.is_given(name, held.get(name))}
            words = {name: as_word(value) for name, value in known.items() if name in takes.words}
            found.append((where, known | words))
    if not found:
        raise DataError(f"{file}: holds no row; expected a JSON object per line with {', '.join(takes.columns)}")
    return found


def as_word(value: Any) -> str:
    """A value of a JSONL file whose field is a word or text, as a delivery's is read."""
    if isinstance(value, str):
        return value
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, ensure_ascii=False)


def rows_of_table(file: Path, data: bytes, takes: Takes) -> list[Named]:
    """The rows of a CSV file by the model's columns. Other columns, as label and id, are left out; an empty cell, or
    one that the pipeline file calls missing, is a column that the row lacks. Numbers have the decimal mark that is
    declared, else a point: nothing is guessed; words are as they are."""
    columns, written = takes.columns, takes.written
    if not columns:
        raise DataError(f"{file}: is a table, and this model takes none; see /docs of its server")
    text = text_of(file, data, written.encoding)
    header = text.partition("\n")[0]
    delimiter = written.delimiter or max(DELIMITERS, key=lambda one: len(set(cells(header, one)) & set(columns)))
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    found: list[Named] = []
    names: list[str] = []
    try:
        for row in reader:
            where, held = f"{file}:{reader.line_num}", [cell.strip() for cell in row]
            if not row:
                continue
            if not names:
                names, is_row = names_over(held, takes)
                if not set(names) & set(columns):
                    raise DataError(
                        f"{where}: names none of the columns {', '.join(columns)}; got {row!r:.200} with the "
                        f"delimiter {delimiter!r}: write their names there, or mend source.delimiter"
                    )
                if not is_row:
                    continue
            if len(row) != len(names):
                raise DataError(f"{where}: got {len(row)} cells, expected {len(names)}")
            cell_of = dict(zip(names, held, strict=True))
            known = {name: cell_of[name] for name in columns if written.is_given(name, cell_of.get(name))}
            found.append((where, instance_of(known, takes, where)))
    except csv.Error as exc:
        raise DataError(f"{file}:{reader.line_num}: {exc}") from exc
    if not found:
        raise DataError(f"{file}: holds no row; expected a header with {', '.join(columns)}, and rows")
    return found


def text_of(file: Path, data: bytes, encoding: str) -> str:
    """Without the mark of its encoding, which tells it where none is declared. Raises ``DataError``."""
    if encoding == "utf-8-sig" and data[:2] in UTF16_MARKS:
        encoding = "utf-16"
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        expected = "UTF-8" if encoding == "utf-8-sig" else encoding
        raise DataError(f"{file}: is not {expected} at byte {exc.start}; save it as {expected}") from exc


def names_over(first: list[str], takes: Takes) -> tuple[list[str], bool]:
    """The names of a table's columns, by its first line, and whether that line is a row: below declared names it may
    have the inputs alone, and may name its columns all the same, as a file that is scored."""
    header = takes.written.header
    if not header or names_itself(first, header):
        return first, False
    inputs = [name for name in header if name in takes.columns]
    return inputs if len(first) == len(inputs) else list(header), True


def cells(line: str, delimiter: str) -> list[str]:
    """Of one line, without blanks and quotes."""
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


class NotFiniteError(ValueError):
    """A number of a JSON file that no request can hold."""


def finite(text: str) -> float:
    """Raises ``NotFiniteError``."""
    value = float(text)
    if not math.isfinite(value):
        raise NotFiniteError(f"got {text[:50]}, expected a finite number")
    return value


def instance_of(held: Mapping[str, str], takes: Takes, where: str) -> dict[str, Any]:
    """The cells of a row as a request has them."""
    written = takes.written
    return {
        name: cell if name in takes.words else number(cell, name, where, written.decimals.get(name, written.decimal))
        for name, cell in held.items()
    }


def number(cell: str, name: str, where: str, mark: Mark | None = None) -> int | float:
    """As JSON would say it. Raises ``DataError`` for another way to write one."""
    try:
        return read_number(cell, decimal=mark) if mark == "," else written_number(cell)
    except ValueError as error:
        raise DataError(f"{where}: column {name!r}: {error}") from error


def readiness(url: str) -> str:
    """How the server at `url` is, in words."""
    try:
        reply = httpx.get(f"{url}/ready", timeout=READY_S)
    except httpx.HTTPError as error:
        return f"NOT READY: {type(error).__name__}"
    why = reason_of(reply)
    if reply.status_code != 200:
        return f"NOT READY: {reply.status_code} {why}".strip()
    return f"healthy; behind: {why}" if why else "healthy"


def reason_of(reply: httpx.Response) -> str:
    """What an answer of `/ready` says is wrong; of another answer, how it begins."""
    try:
        told = reply.json()
        return str(told.get("reason") or told.get("behind") or "")[:300]
    except (ValueError, AttributeError):
        return reply.text[:100]
