"""What an exchange with a language model's engine says of itself: its model, its tokens, its end. Pure.

It is read in passing, however it is cut into pieces; nothing of a question or an answer is kept beyond its exchange.
"""

from __future__ import annotations

import re

LINE = 64 * 1024
KEPT = 4096  # of an answer, for what its engine says at its end
NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,199}")
TOP, DEEP = re.compile(rb'["{}\[\]:,]'), re.compile(rb'["{}\[\]]')
REST = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
TELLS = re.compile(rb'"(prompt_eval_count|prompt_tokens|eval_count|completion_tokens)"\s*:\s*(\d{1,12})')
MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')
FAILED = re.compile(rb'(?:^|\n)(?:data: ?)?\{"error"\s*:')

Headers = dict[str, str]


class Framing:
    """Where a message's body ends, and its bytes without the frames of chunked ones. Raises ValueError."""

    def __init__(self, headers: Headers) -> None:
        self.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "")
        self.left = 0 if self.chunked else int(length) if length else None
        self.line = b""
        self.last = False
        self.ended = self.left == 0 and not self.chunked

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the body."""
        if not self.chunked:
            if self.left is not None:
                self.left -= len(data)
                self.ended = self.left <= 0
            return data
        found, at = [], 0
        while at < len(data) and not self.ended:
            if self.left:
                piece = data[at : at + self.left]
                found.append(piece)
                self.left -= len(piece)
                at += len(piece)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self.line += data[at:]
                if len(self.line) > LINE:
                    raise ValueError("a frame without an end")
                break
            self._frame((self.line + data[at:end]).strip())
            self.line, at = b"", end + 1
        return b"".join(found)

    def _frame(self, line: bytes) -> None:
        if self.last:  # trailers, and an empty line after them
            self.ended = not line
        elif line:
            self.left = int(line.partition(b";")[0], 16)
            if self.left < 0:
                raise ValueError("a frame of less than nothing")
            self.last = self.left == 0


class Asked:
    """Reads the member "model" of a JSON object in passing, however it is cut; keeps nothing else of it."""

    STEPS = 20_000  # strings and brackets, after which it is given up: the answer tells the model too

    def __init__(self) -> None:
        self.model = ""
        self.done = False
        self.steps = self.depth = 0
        self.inside = self.escaped = False
        self.text = self.key = b""

    def feed(self, data: bytes) -> None:
        """The next bytes of the question."""
        at = 0
        while at < len(data) and not self.done:
            self.steps += 1
            self.done = self.steps > self.STEPS
            at = self._string(data, at) if self.inside else self._mark(data, at)

    def _mark(self, data: bytes, at: int) -> int:
        found = (TOP if self.depth == 1 else DEEP).search(data, at)
        if found is None:
            return len(data)
        mark = found.group()
        if mark == b'"':
            self.inside, self.text = True, b""
        elif mark in b"{[":
            self.depth += 1
        elif mark in b"}]":
            self.depth -= 1
            self.done = self.depth <= 0
        else:
            self.key = self.text if mark == b":" else b""
        return found.end()

    def _string(self, data: bytes, at: int) -> int:
        if self.escaped:
            self.escaped = False
            self._keep(b"\\")  # such a string is no key and no name of ours
            return at + 1
        found = REST.match(data, at)
        if found is None:
            rest = data[at:]
            self.escaped = (len(rest) - len(rest.rstrip(b"\\"))) % 2 == 1
            self._keep(rest)
            return len(data)
        self._keep(data[at : found.end() - 1])
        self.inside = False
        if self.depth == 1 and self.key == b"model":
            self.model = self.text.decode() if NAME.fullmatch(self.text) else ""
            self.done = True
        return found.end()

    def _keep(self, piece: bytes) -> None:
        if self.depth == 1 and len(self.text) <= 200:  # noqa: PLR2004 - the longest name
            self.text += piece[:256]


class Answer:
    """What an answer says of itself at its end."""

    def __init__(self) -> None:
        self.size = self.lines = 0
        self.head = self.tail = b""

    def feed(self, piece: bytes) -> None:
        """The next bytes of its body."""
        if len(self.head) < KEPT:
            self.head += piece[: KEPT - len(self.head)]
        self.size += len(piece)
        self.lines += piece.count(b"\n")
        self.tail = piece[-KEPT:] if len(piece) >= KEPT else (self.tail + piece)[-KEPT:]

    def tokens(self, kind: str) -> tuple[int, int, bool]:
        """Tokens in and out, and whether the engine told them.

        Where it did not, because the caller left or did not ask for `stream_options.include_usage`, those out are the
        pieces that were streamed, which are about one token each, and those in are not known: 0.
        """
        told = {name: int(count) for name, count in TELLS.findall(self.tail)}
        if told:
            read = told.get(b"prompt_eval_count", told.get(b"prompt_tokens", 0))
            return read, told.get(b"eval_count", told.get(b"completion_tokens", 0)), True
        if kind.startswith("text/event-stream"):  # two lines each; at the end one that only says why, and [DONE]
            return 0, max(0, self.lines // 2 - 2 * self.tail.rstrip().endswith(b"[DONE]")), False
        return 0, self.lines if kind.startswith("application/x-ndjson") else 0, False

    def failed(self) -> bool:
        """Whether it ends with an error, although it began well."""
        return FAILED.search(self.tail) is not None

    def model(self) -> str:
        """The model that it names."""
        found = MODEL.search(self.head)
        return found.group(1).decode() if found and NAME.fullmatch(found.group(1)) else ""
