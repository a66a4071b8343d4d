"""A source's options: text that a person wrote, references resolved late, secrets never shown."""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import hmac
import html
import json
import numbers
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from .errors import OptionError

__all__ = ["CaseInsensitiveDict", "Redactor", "SourceOptions", "register_resolver"]

SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)|pwd|secret|token|credential|authori[sz]ation|bearer|cookie"
    r"|(api|access|account|encryption|private|shared|signing)[ _.-]?key"
    r"|^(auth|pass|sig|signature)$",
    re.IGNORECASE,
)
"""An option (or URL parameter) whose name matches holds a secret."""

MASK = "***"

_KEY = secrets.token_bytes(32)


class CaseInsensitiveDict(dict[str, str]):
    """What a source is handed: a real dict of str to str whose keys match ignoring case.

    Iteration, ``json.dumps`` and ``dict(options)`` show the keys as the person spelt them.
    """

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        self._spelling: dict[str, str] = {}
        for key, value in dict(items).items():
            self[key] = value

    def _spelt(self, key: object) -> Any:
        return self._spelling.get(key.lower(), key) if isinstance(key, str) else key

    def __setitem__(self, key: str, value: str) -> None:
        spelt = self._spelling.setdefault(key.lower(), key)
        super().__setitem__(spelt, value)

    def __getitem__(self, key: str) -> str:
        return super().__getitem__(self._spelt(key))

    def __delitem__(self, key: str) -> None:
        super().__delitem__(self._spelt(key))
        del self._spelling[key.lower()]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(self._spelt(key))

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(self._spelt(key), default)

    def pop(self, key: str, *default: Any) -> Any:
        value = super().pop(self._spelt(key), *default)
        self._spelling.pop(key.lower(), None)
        return value

    def popitem(self) -> tuple[str, str]:
        key, value = super().popitem()
        del self._spelling[key.lower()]
        return key, value

    def clear(self) -> None:
        super().clear()
        self._spelling.clear()

    def setdefault(self, key: str, default: Any = "") -> str:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **more: str) -> None:
        for key, value in dict(*others, **more).items():
            self[key] = value

    def copy(self) -> CaseInsensitiveDict:
        return CaseInsensitiveDict(self)

    def __or__(self, other: Any) -> Any:
        merged = self.copy()
        merged.update(other)
        return merged

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return CaseInsensitiveDict, (dict(self),)


def _from_environment(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise LookupError(f"environment variable {name!r} is not set") from None


def _from_file(path: str) -> str:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise LookupError(f"file {path!r} cannot be read ({type(error).__name__})") from None
    # Editors and Kubernetes secrets end a file with a line break that is no part of the value.
    return text.removesuffix("\n").removesuffix("\r")


_RESOLVERS: dict[str, Callable[[str], str]] = {"env": _from_environment, "file": _from_file}


def register_resolver(scheme: str, resolve: Callable[[str], str]) -> None:
    """Let options hold ``{scheme:text}``, replaced by ``resolve(text)`` where the option is used.

    Parameters
    ----------
    scheme
        Lower-case letters, digits and ``_``, beginning with a letter; ``env`` and ``file`` are
        taken.
    resolve
        Called with what stands between the colon and the brace; raises `LookupError` if there is no
        such value. Reading happens on the workers, so register it there too (a preload script).

    Raises
    ------
    OptionError
        If the scheme is malformed, or is ``env`` or ``file``.
    """
    is_word = isinstance(scheme, str) and re.fullmatch(r"[a-z][a-z0-9_]*", scheme)
    if not is_word or scheme in ("env", "file"):
        raise OptionError(
            "scheme", f"must be a new lower-case word, got {scheme!r}", "e.g. 'vault'"
        )
    if not callable(resolve):
        raise OptionError(
            "resolve", f"must be a function, got {type(resolve).__name__}", "of text to text"
        )
    _RESOLVERS[scheme] = resolve


def _resolve(name: str, text: str, found: list[str]) -> str:
    """Replace the references in one option's text; what they give is added to ``found``."""

    def replace(match: re.Match[str]) -> str:
        try:
            value = _RESOLVERS[match[1]](match[2])
        except LookupError as error:
            is_key = isinstance(error, KeyError) or not error.args  # of a dict: no sentence
            problem = "its resolver knows no such name" if is_key else str(error.args[0])
            raise OptionError(
                name,
                f"holds the reference {match[0]}, but {problem} in this process",
                "it is resolved where the option is used: on the client to plan (or on a worker "
                "with plan_on='cluster'), and on every worker to read",
            ) from None
        if not isinstance(value, str):
            raise OptionError(
                name,
                f"holds the reference {match[0]}, but its resolver gave no text",
                "return a str, or raise LookupError",
            )
        found.append(value)
        return value

    return _reference_pattern().sub(replace, text)


def _reference_pattern() -> re.Pattern[str]:
    return re.compile(rf"\{{({'|'.join(_RESOLVERS)}):([^{{}}]+)\}}")


def _is_reference(text: str) -> bool:
    """Whether a text is nothing but references, so that it may be shown."""
    return _reference_pattern().sub("", text) == "" != text


_URL_PASSWORD = re.compile(r"//[^/?#\s:@]*:([^/?#\s]*)@")  # to the last @: it may hold one
_ORACLE_PASSWORD = re.compile(r"^jdbc:oracle:\w+:[^/@]*/([^@]+)@")
_URL_PARAMETER = re.compile(r"[?&;]([^=&;?#]+)=([^&;#]*)")


def _url_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Where a URL holds credentials: its password, and parameters whose names say so."""
    if "://" not in text and not text.startswith("jdbc:"):
        return
    for pattern in (_URL_PASSWORD, _ORACLE_PASSWORD):
        yield from (match.span(1) for match in pattern.finditer(text))
    for match in _URL_PARAMETER.finditer(text):
        if SECRET_NAME.search(unquote(match[1])):
            yield match.span(2)


def _spellings(secret: str) -> Iterator[str]:
    """The forms in which a secret turns up in messages: escaped, or encoded for a URL or page."""
    for plain in {secret, unquote(secret), unquote_plus(secret)}:
        data = plain.encode(errors="surrogatepass")
        yield plain
        yield quote(plain, safe="", errors="replace")
        yield quote(plain, errors="replace")
        yield quote_plus(plain, errors="replace")
        yield repr(plain)[1:-1]
        yield repr(repr(plain))[2:-2]
        yield repr(data)[2:-1]
        yield json.dumps(plain)[1:-1]
        yield html.escape(plain)
        if len(data) >= 6:
            # Within the base64 of a longer text (as in basic authentication) it begins at one of
            # three places, and its first and last characters are mixed with its neighbours'.
            for shift in range(3):
                encoded = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
                yield encoded[(shift * 4 + 2) // 3 : (len(data) + shift) * 4 // 3]


class Redactor:
    """Takes secrets out of texts, in each of the spellings that messages have for them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _spellings(secret)} - {""}
        # The longest first, or a secret that holds another one would be left in part.
        ordered = (re.escape(form) for form in sorted(forms, key=len, reverse=True))
        # Percent-encoding has no case: %2F is %2f.
        pattern = "|".join(re.sub("%[0-9A-F]{2}", r"(?i:\g<0>)", form) for form in ordered)
        self._pattern = re.compile(pattern) if forms else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """Return a JSON value, such as a partition's spec, with its texts redacted."""
        if isinstance(value, dict):
            return {self(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return self(value) if isinstance(value, str) else value


def _as_text(name: str, value: Any) -> str | None:
    """Return an option's value as the text that a person would type; None if it is absent."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, decimal.Decimal):
        return format(value, "f") if value.is_finite() else _refuse(name, value)
    is_float = isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational)
    if is_float and float(value).is_integer():
        return str(int(float(value)))
    if isinstance(value, datetime.datetime):
        is_moment = value.year == value.year  # that of pandas.NaT is NaN
        return value.isoformat(sep=" ") if is_moment else _refuse(name, value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if isinstance(path, str) else _refuse(name, value)
    if isinstance(value, list | tuple):
        try:
            return json.dumps(list(value), allow_nan=False)
        except (TypeError, ValueError):
            return _refuse(name, value)
    return _refuse(name, value)


def _refuse(name: str, value: Any) -> str:
    got = f"{type(value).__name__}" if SECRET_NAME.search(name) else f"{value!r:.80}"
    raise OptionError(
        name,
        f"must be text or something that has one plain spelling, got {got}",
        "write a str, bool, int, Decimal, date, datetime, path, or a list of plain values",
    )


class SourceOptions(Mapping[str, str]):
    """The options of one read, as they travel in a graph: references unresolved, secrets not shown.

    Not a dict subclass: Dask would tokenise, and print, its items.
    """

    def __init__(self, items: Mapping[str, str]) -> None:
        self._items = dict(items)

    @classmethod
    def gather(cls, options: Mapping[str, Any] | None, more: Mapping[str, Any]) -> SourceOptions:
        """Put together what a person gave as ``options=`` and as keywords, as text.

        Raises
        ------
        OptionError
            If a value has no plain spelling, a key is no text, or two keys differ by case alone.
        """
        if options is not None and not isinstance(options, Mapping):
            raise OptionError(
                "options",
                f"must be a mapping, got {type(options).__name__}",
                "write e.g. {'k': 'v'}",
            )
        items: dict[str, str] = {}
        spelt: dict[str, str] = {}
        for key, value in [*(options or {}).items(), *more.items()]:
            if not isinstance(key, str) or not key:
                raise OptionError("options", f"has the key {key!r}", "name options by a str")
            if key.lower() in spelt:
                other = spelt[key.lower()]
                raise OptionError(key, f"is given twice (also as {other!r})", "give it once")
            spelt[key.lower()] = key
            text = _as_text(key, value)
            if text is not None:
                items[key] = text
        return cls(items)

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def unresolved(self) -> CaseInsensitiveDict:
        """Return the options with references left as they are, for `SupportsScan.plan_scan`."""
        return CaseInsensitiveDict(self._items)

    def resolve(self) -> tuple[CaseInsensitiveDict, Redactor]:
        """Return what a source is handed, and what takes its secrets out of texts.

        Raises
        ------
        OptionError
            If a reference has no value in this process.
        """
        found: list[str] = []
        resolved = {key: _resolve(key, text, found) for key, text in self._items.items()}
        return CaseInsensitiveDict(resolved), Redactor([*found, *_secrets(resolved)])

    def shown(self) -> dict[str, str]:
        """Return the options as they may be shown: references as written, secrets masked."""

        def show(name: str, text: str) -> str:
            if _is_reference(text):
                return text
            if SECRET_NAME.search(name):
                return MASK
            for start, end in sorted(_url_secrets(text), reverse=True):
                if not _is_reference(text[start:end]):
                    text = text[:start] + MASK + text[end:]
            return text

        return {name: show(name, text) for name, text in self._items.items()}

    @property
    def redactor(self) -> Redactor:
        """Takes out of texts the secrets that need no resolving."""
        return Redactor(secret for secret in _secrets(self._items) if not _is_reference(secret))

    def fingerprint(self) -> str:
        """Return a digest of all but the secrets, so that a key gives no hold to guess them by."""
        public = sorted((key.lower(), text) for key, text in self.shown().items())
        return hashlib.sha256(json.dumps(public).encode()).hexdigest()

    def identity(self) -> str:
        """Return a digest of all, secrets as well: they may decide on rows, by whose they are.

        Where one is written out, and is no reference, the digest is made with a key of this process
        alone, so that nobody else can try guesses.
        """
        if all(map(_is_reference, _secrets(self._items))):
            return self.fingerprint()
        everything = sorted((key.lower(), text) for key, text in self._items.items())
        return hmac.digest(_KEY, json.dumps(everything).encode(), "sha256").hex()

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "SourceOptions", self.fingerprint()

    def __repr__(self) -> str:
        return f"SourceOptions({self.shown()!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return SourceOptions, (self._items,)


def _secrets(items: Mapping[str, str]) -> Iterator[str]:
    for name, text in items.items():
        if SECRET_NAME.search(name):
            yield text
        yield from (text[start:end] for start, end in _url_secrets(text))
