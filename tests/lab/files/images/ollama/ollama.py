#!/opt/python/bin/python3
"""What Ollama's API is to its callers, with models that say the same few words: `ollama serve`, `ollama list`.

Its library has models for each fault: `slow:1b` takes ten seconds, `late:1b` breaks off twice with an error in an answer
that began with 200, `huge:70b` is larger than any disk, `broken:1b` says two words and then fails; any other name that is not here does not exist. What has come of a
model is kept, and a fetch that was broken off goes on there. Every request is told on stdout by its method and path.
"""

import hashlib
import json
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOME = Path(os.environ.get("OLLAMA_MODELS", "/root/.ollama/models"))
MIB = 1 << 20
LIBRARY = {  # name: bytes of its weights, seconds to fetch them, how often that breaks off
    "tiny:1b": (8 * MIB, 0, 0),
    "small:2b": (16 * MIB, 0, 0),
    "slow:1b": (64 * MIB, 10, 0),
    "late:1b": (8 * MIB, 0, 2),
    "huge:70b": (1 << 40, 0, 0),
    "broken:1b": (8 * MIB, 0, 0),
}
WORDS = ("Bonjour,", "je", "suis", "un", "modèle", "de", "remplacement.")
LOCK = threading.Lock()
LOADED = {}  # name: when it goes
RUNNING = {"now": 0, "cut": 0}  # generations under way, and those whose caller left


class LateError(Exception):
    """What upstream meets in the middle of an answer, and then says at its end."""


LATE = {"error": "an error was encountered while running the model: CUDA error"}


def digest(name):
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def held():
    return {
        p.name.replace("_", ":"): json.loads(p.read_text()) for p in sorted(HOME.glob("*_*")) if p.suffix != ".part"
    }


def place(name, ending=""):
    return HOME / (name.replace(":", "_") + ending)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def log_message(self, form, *args):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

    def answer(self, data, status=200):
        raw = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(data, str) else "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def stream(self, kind, chunks):
        """Chunked, as upstream's: whoever leaves ends what is generated."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def route(self):
        path = self.path.partition("?")[0]
        print(self.command, path, flush=True)
        wanted = {
            ("GET", "/"): lambda: self.answer("Ollama is running"),
            ("HEAD", "/"): lambda: self.answer("Ollama is running"),
            ("GET", "/api/version"): lambda: self.answer({"version": os.environ.get("STAND_IN", "0.32.15")}),
            ("GET", "/api/tags"): lambda: self.answer({"models": list(held().values())}),
            ("GET", "/api/ps"): self.ps,
            ("GET", "/v1/models"): self.v1_models,
            ("POST", "/api/pull"): self.pull,
            ("DELETE", "/api/delete"): self.delete,
            ("POST", "/api/chat"): self.chat,
            ("POST", "/api/generate"): self.chat,
            ("POST", "/v1/chat/completions"): self.v1_chat,
            ("GET", "/stand-in/running"): lambda: self.answer(RUNNING),
        }.get((self.command, path))
        if wanted is None:
            self.body()
            self.answer("404 page not found", 404)
        else:
            wanted()

    do_GET = do_POST = do_HEAD = do_DELETE = route  # noqa: N815 - http.server's names

    def ps(self):
        models = held()
        loaded = [{**models[n], "expires_at": e, "size_vram": 0} for n, e in LOADED.items() if n in models]
        self.answer({"models": loaded})

    def v1_models(self):
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "library"} for name in held()]
        self.answer({"object": "list", "data": listed})

    def delete(self):
        name = self.body().get("model", "")
        if name not in held():
            self.answer({"error": f"model '{name}' not found"}, 404)
            return
        place(name).unlink()
        LOADED.pop(name, None)
        self.answer({})

    def pull(self):
        name = self.body().get("model", "")
        lines = (json.dumps(each).encode() + b"\n" for each in self.fetched(name))
        self.stream("application/x-ndjson", lines)

    def fetched(self, name):
        yield {"status": "pulling manifest"}
        if name not in LIBRARY:
            yield {"error": "pull model manifest: file does not exist"}
            return
        total, takes, breaks = LIBRARY[name]
        layer = digest(name)
        part = place(name, ".part")
        state = json.loads(part.read_text()) if part.exists() else {"come": 0, "broken": 0}
        short = layer.partition(":")[2][:12]
        steps = 40
        yield {"status": f"pulling {short}", "digest": layer, "total": total}
        while state["come"] < total:
            time.sleep(takes / steps)
            state["come"] = min(total, state["come"] + max(1, total // steps))
            part.write_text(json.dumps(state))
            if state["broken"] < breaks and state["come"] > total * (state["broken"] + 1) // 4:
                state["broken"] += 1
                part.write_text(json.dumps(state))
                yield {"error": "max retries exceeded: EOF"}
                return
            yield {"status": f"pulling {short}", "digest": layer, "total": total, "completed": state["come"]}
        yield {"status": "verifying sha256 digest"}
        yield {"status": "writing manifest"}
        model = {
            "name": name,
            "model": name,
            "modified_at": "2026-08-21T09:00:00.000000000Z",
            "size": total,
            "digest": layer.partition(":")[2],
            "details": {"format": "gguf", "family": "stand-in", "parameter_size": "1B", "quantization_level": "Q4_K_M"},
        }
        place(name).write_text(json.dumps(model))
        part.unlink()
        yield {"status": "success"}

    def words(self, name, count):
        """The words of an answer, one each hundredth of a second."""
        LOADED[name] = "2026-08-21T10:00:00.000000000Z"
        with LOCK:
            RUNNING["now"] += 1
        ended = False
        try:
            for number in range(count):
                time.sleep(0.01)
                if name == "broken:1b" and number == 2:
                    raise LateError
                yield WORDS[number % len(WORDS)] + " "
            ended = True
        finally:
            with LOCK:
                RUNNING["now"] -= 1
                RUNNING["cut"] += not ended

    def asked(self):
        body = self.body()
        name = body.get("model", "")
        if name not in held():
            self.answer({"error": f"model '{name}' not found"}, 404)
            return None
        return body

    def chat(self):
        body = self.asked()
        if body is None:
            return
        count = int(body.get("options", {}).get("num_predict", 8))
        words = self.words(body["model"], count)
        done = {
            "model": body["model"],
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 5,
            "eval_count": count,
        }
        done |= {"eval_duration": count * 10_000_000, "message": {"role": "assistant", "content": ""}}
        if body.get("stream", True):
            said = (
                {"model": body["model"], "message": {"role": "assistant", "content": w}, "done": False} for w in words
            )
            self.stream("application/x-ndjson", (json.dumps(e).encode() + b"\n" for e in _then(said, done, late=LATE)))
        else:
            self.answer({**done, "message": {"role": "assistant", "content": "".join(words)}})

    def v1_chat(self):
        body = self.asked()
        if body is None:
            return
        count = int(body.get("max_tokens") or 8)
        words = self.words(body["model"], count)
        usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}
        base = {"id": "chatcmpl-1", "created": 0, "model": body["model"], "system_fingerprint": "fp_ollama"}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self.answer({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        chunk = {**base, "object": "chat.completion.chunk"}
        said = ({**chunk, "choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]} for w in words)
        end = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        ends = [end, {**chunk, "choices": [], "usage": usage}] if _wants_usage(body) else [end]
        late = {"error": {"message": LATE["error"], "type": "api_error"}}
        events = (b"data: " + json.dumps(each).encode() + b"\n\n" for each in _then(said, *ends, late=late))
        self.stream("text/event-stream", _then(events, b"data: [DONE]\n\n"))


def _wants_usage(body):
    return (body.get("stream_options") or {}).get("include_usage", False)


def _then(first, *last, late=None):
    """All of the first and then the last; or, where the first fails midway, what is said of it."""
    try:
        yield from first
    except LateError:
        yield late
        return
    yield from last


class Server(ThreadingHTTPServer):
    request_queue_size = 2048
    daemon_threads = True


def serve():
    HOME.mkdir(parents=True, exist_ok=True)
    host, _, port = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
    Server((host, int(port)), Handler).serve_forever()


def listed():
    with urllib.request.urlopen("http://127.0.0.1:11434/api/tags", timeout=5) as answer:
        print("NAME\tID\tSIZE")
        for model in json.load(answer)["models"]:
            print(model["name"], model["digest"][:12], model["size"], sep="\t")


if __name__ == "__main__":
    {"serve": serve, "list": listed}[sys.argv[1]]()
