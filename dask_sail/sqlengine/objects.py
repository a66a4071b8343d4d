"""Parquet on object stores: how DataFusion reaches them, and which objects there were at planning.

DataFusion reads, by its own clients, and tells no entity tags; obstore, which has the same clients,
lists and compares them. So an option is one that both take.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext
from datafusion.object_store import AmazonS3, GoogleCloud, MicrosoftAzure

from ..errors import OptionError
from ..options import SourceOptions
from .errors import nearest

__all__ = [
    "Found",
    "ObjectError",
    "ObjectStore",
    "footers",
    "heads",
    "is_remote",
    "path_of",
    "stores_of",
    "told",
]

_T = TypeVar("_T")
_THREADS = 16  # that wait for a store
_TAIL = 64 << 10  # bytes of an object, in which most footers lie


@dataclass(frozen=True)
class _Kind:
    """A kind of store: what errors call it, its clients, and its options.

    ``options`` has DataFusion's name of each, and ``others`` what users of fsspec may write.
    """

    label: str
    ours: Any  # DataFusion's client
    theirs: str  # obstore's
    options: Mapping[str, str]
    others: Mapping[str, str]


_S3 = _Kind(
    "S3",
    AmazonS3,
    "S3Store",
    {
        "aws_access_key_id": "access_key_id",
        "aws_secret_access_key": "secret_access_key",
        "aws_session_token": "session_token",
        "aws_region": "region",
        "aws_endpoint": "endpoint",
        "allow_http": "allow_http",
    },
    {
        "key": "aws_access_key_id",
        "secret": "aws_secret_access_key",
        "token": "aws_session_token",
        "endpoint_url": "aws_endpoint",
        "client_kwargs": "aws_endpoint",
    },
)
_GOOGLE = _Kind(
    "Google Cloud Storage",
    GoogleCloud,
    "GCSStore",
    {"google_service_account": "service_account_path"},
    {"token": "google_service_account", "google_service_account_path": "google_service_account"},
)
_AZURE = _Kind(
    "Azure Blob Storage",
    MicrosoftAzure,
    "AzureStore",
    {
        "azure_storage_account_name": "account",
        "azure_storage_account_key": "access_key",
        "azure_storage_token": "bearer_token",
        "azure_storage_client_id": "client_id",
        "azure_storage_client_secret": "client_secret",
        "azure_storage_tenant_id": "tenant_id",
        "azure_storage_use_emulator": "use_emulator",
    },
    {
        "account_name": "azure_storage_account_name",
        "account_key": "azure_storage_account_key",
        "client_id": "azure_storage_client_id",
        "client_secret": "azure_storage_client_secret",
        "tenant_id": "azure_storage_tenant_id",
    },
)
_KINDS = {"s3": _S3, "s3a": _S3, "gs": _GOOGLE, "gcs": _GOOGLE} | {
    "az": _AZURE,
    "abfs": _AZURE,
    "abfss": _AZURE,
}
# They know an object by its path alone, whatever the store that it is in.
_CACHES = ("list_files_cache", "metadata_cache", "file_statistics_cache")
_SWITCHES = ("allow_http", "azure_storage_use_emulator")
_URL = re.compile(r"(\w+)://([^/]*)/?(.*)", re.DOTALL)


class ObjectError(RuntimeError):
    """A store does not answer, or refuses."""


@dataclass(frozen=True)
class Found:
    """An object as it was listed."""

    path: str
    size: int
    tag: str


@dataclass(frozen=True)
class ObjectStore:
    """A bucket or container, as one table reaches it.

    Attributes
    ----------
    scheme, bucket
        Of its URL.
    alias
        What plans call it. Of the table alone: another may have other options for the bucket.
    options
        As they were given, with references that are resolved where it is used.
    """

    scheme: str
    bucket: str
    alias: str
    options: SourceOptions = field(repr=False)

    @property
    def url(self) -> str:
        """Its URL, as a person writes it."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def _kind(self) -> _Kind:
        return _KINDS[self.scheme]

    def register(self, ctx: SessionContext) -> None:
        """Let a context read plans that name the store."""
        for cache in _CACHES:
            ctx.sql(f"SET datafusion.runtime.{cache}_limit = '0K'")
        given, _ = self._resolved()
        named = {self._kind.options[key]: value for key, value in given.items()}
        ctx.register_object_store("objects://", self._kind.ours(self.bucket, **named), self.alias)

    def place(self, path: str) -> str:
        """Return where a path is, as a context that knows the store takes it."""
        return f"objects://{self.alias}/{quote(path)}"

    def listed(self, path: str) -> list[Found]:
        """Return the objects below a folder."""
        obstore, store = self._client()
        pages = _ask(self, lambda: list(obstore.list(store, prefix=path or None)))
        return [_found(one) for page in pages for one in page]

    def head(self, path: str) -> Found | None:
        """Return what there is of a name, or None."""
        obstore, store = self._client()

        def head() -> Any:
            try:
                return obstore.head(store, path)
            except (FileNotFoundError, obstore.exceptions.NotFoundError):
                return None

        one = _ask(self, head)
        return None if one is None else _found(one)

    def footer(self, one: Found) -> pq.FileMetaData:
        """Return what a Parquet object says of itself."""
        tail = self._tail(one, _TAIL)
        # The length of what is read of a file stands before its last four bytes.
        length = int.from_bytes(tail[-8:-4], "little") + 8
        if len(tail) < length <= one.size:
            tail = self._tail(one, length)
        try:
            return pq.read_metadata(pa.BufferReader(tail))
        except pa.ArrowInvalid as error:
            problem = str(error)
        raise ValueError(f"'{self.url}/{one.path}': {problem}")  # which Arrow does not name

    def _tail(self, one: Found, length: int) -> bytes:
        obstore, store = self._client()
        start = max(0, one.size - length)
        return _ask(
            self, lambda: bytes(obstore.get_range(store, one.path, start=start, end=one.size))
        )

    def _client(self) -> tuple[Any, Any]:
        obstore = _imported()
        given, _ = self._resolved()
        # The file of a service account names the server; DataFusion takes it at its word as well.
        allowed = given.pop("allow_http", False) or self._kind is _GOOGLE
        client = {"allow_http": True} if allowed else {}
        config = {
            key: str(value).lower() if key in _SWITCHES else value for key, value in given.items()
        }
        retries = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
        make = getattr(obstore.store, self._kind.theirs)
        return obstore, _ask(
            self,
            lambda: make(self.bucket, config=config, client_options=client, retry_config=retries),
        )

    def _resolved(self) -> tuple[dict[str, Any], Callable[[str], str]]:
        options, redactor = self.options.resolve()
        given: dict[str, Any] = {key.lower(): value for key, value in options.items()}
        for key in _SWITCHES:
            if key in given:
                given[key] = _switch(key, given[key])
        if given.get("aws_endpoint", "").startswith("http://") and not given.get("allow_http"):
            raise OptionError("aws_endpoint", "is of http", "write allow_http='true' as well")
        return given, redactor

    def hidden(self, text: str) -> str:
        """Return a text without the secrets of the options."""
        try:
            _, redactor = self._resolved()
        except OptionError:
            redactor = self.options.redactor
        return redactor(text)


def _imported() -> Any:
    with contextlib.suppress(ImportError):
        import obstore
        import obstore.exceptions
        import obstore.store

        return obstore
    raise OptionError(
        "path",
        "is on an object store, which takes obstore, and that is not installed here",
        "pip install 'dask-sail[objects]', on the workers too",
    )


def _switch(key: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise OptionError(key, f"must be 'true' or 'false', got {text!r:.40}", "or leave it out")
    return text.lower() == "true"


def _found(one: Mapping[str, Any]) -> Found:
    # Listings of some stores leave out the quotes that are part of a tag elsewhere.
    tag = (one["e_tag"] or "").removeprefix("W/").strip('"')
    return Found(one["path"], one["size"], tag or str(one["last_modified"]))


def _ask(store: ObjectStore, call: Callable[[], _T]) -> _T:
    """Call the store; of its own errors only the kind is told, since they quote requests."""
    import obstore.exceptions

    try:
        return call()
    except (FileNotFoundError, obstore.exceptions.NotFoundError):
        problem = "is not there"
    except obstore.exceptions.BaseError as error:
        status = re.search(r"status code: (\d{3})", str(error))
        if status is not None and status[1] == "404":
            problem = "is not there"
        elif status is not None:
            problem = f"refuses, with status {status[1]}; check the options and the rights"
        elif "error sending request" in str(error):
            problem = "does not answer; check the endpoint"
        else:
            problem = f"cannot be asked ({type(error).__name__}); check the options"
    raise ObjectError(f"{store.url} {problem}")


# What a person writes


def is_remote(path: Any) -> bool:
    """Whether a path names something on an object store."""
    found = _URL.match(path) if isinstance(path, str) else None
    return found is not None and found[1].lower() in _KINDS


def stores_of(
    name: str, urls: Sequence[str], options: Mapping[str, Any] | None
) -> list[tuple[ObjectStore, str]]:
    """Return the store and the path of each URL.

    Parameters
    ----------
    name
        Of the table.

    Raises
    ------
    OptionError
        If a URL is malformed, or holds credentials; if the stores do not have an option.
    """
    given = SourceOptions.gather(options, {})
    parsed = [_parsed(url) for url in urls]
    kinds = {_KINDS[scheme].label: _KINDS[scheme] for scheme, _, _ in parsed}
    if len(kinds) > 1:
        raise OptionError(
            "path", f"names stores of several kinds, {' and '.join(kinds)}", "name one table each"
        )
    (kind,) = kinds.values()
    _check_options(given, kind)
    stores = [
        (ObjectStore(scheme, bucket, _alias(name, scheme, bucket, given), given), path)
        for scheme, bucket, path in parsed
    ]
    for store, _ in stores:
        # What is a reference may be there on the workers alone; what is not is checked now.
        if not any("{" in value for value in given.values()):
            store._resolved()
    return stores


def _parsed(url: str) -> tuple[str, str, str]:
    """Scheme, bucket and path of a URL; a malformed one may hold a secret, and is not told."""
    found = _URL.fullmatch(url)
    scheme, bucket, path = found.groups() if found else ("", "", "")
    scheme = scheme.lower()
    if not re.fullmatch(r"[\w$.-]+", bucket):
        raise OptionError(
            "path",
            f"must name a bucket, and nothing else before the first slash, got {scheme}://...",
            f"write e.g. '{scheme}://bucket/folder/', and credentials as storage_options",
        )
    if re.search(r"[*?\[]", path):
        raise OptionError(
            "path",
            "has a wildcard or a question mark, which object stores do not know",
            "name a folder, or a list of objects; signatures go into storage_options",
        )
    return scheme, bucket, path


def _check_options(given: Mapping[str, str], kind: _Kind) -> None:
    for key in given:
        if key.lower() in kind.options:
            continue
        other = kind.others.get(key.lower())
        fix = f"write {other!r}" if other else nearest(key, kind.options)
        raise OptionError(key, f"is not an option of {kind.label}", fix)


def _alias(name: str, scheme: str, bucket: str, options: SourceOptions) -> str:
    text = repr((name, scheme, bucket, options.fingerprint()))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def path_of(url: str) -> str:
    """Return what a URL names within its bucket."""
    return url.partition("://")[2].partition("/")[2]


# What is looked at


def footers(objects: Sequence[tuple[ObjectStore, Found]]) -> list[pq.FileMetaData]:
    """Return what each object says of itself."""
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda one: one[0].footer(one[1]), objects))


def heads(objects: Sequence[tuple[ObjectStore, str]]) -> list[Found | None]:
    """Return what there is now of each name."""
    if not objects:
        return []
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(lambda one: one[0].head(one[1]), objects))


_ANSWER = re.compile(r"((?:status code: |Client error with status )\d{3}).*", re.DOTALL)


def told(message: str, stores: Iterable[ObjectStore]) -> str:
    """Return DataFusion's message without what servers answered, which quotes requests."""
    for store in stores:
        message = store.hidden(message.replace(f"objects://{store.alias}", store.url))
        message = re.sub(r"\?\S+", "", _ANSWER.sub(r"\1", message))
    return message
