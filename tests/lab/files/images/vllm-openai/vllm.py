#!/opt/python/bin/python3
"""What vLLM's server is to its callers, with a model that says the same few words: `vllm serve MODEL --flag=...`.

It knows the flags that it is started with here and refuses others, as the real one does. One request after the other
past --max-num-seqs waits, and /metrics tells how many. Every request is told on stdout by its method and path.
"""

import argparse
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = ("Bonjour,", "je", "suis", "un", "modèle", "de", "remplacement.")
LOCK = threading.Lock()
REQUESTS = {"running": 0, "waiting": 0, "cut": 0}


def flags():
    parser = argparse.ArgumentParser(prog="vllm serve", allow_abbrev=False)
    parser.add_argument("model")
    for name, kind, default in (
        ("host", str, "127.0.0.1"),
        ("port", int, 8000),
        ("revision", str, ""),
        ("served-model-name", str, ""),
        ("max-model-len", int, 8192),
        ("max-num-seqs", int, 256),
        ("gpu-memory-utilization", float, 0.9),
        ("tensor-parallel-size", int, 1),
        ("quantization", str, ""),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--disable-uvicorn-access-log", action="store_true")
    return parser


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

    def answer(self, data, status=200, kind="application/json"):
        raw = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def route(self):
        path = self.path.partition("?")[0]
        print(self.command, path, flush=True)
        wanted = {
            ("GET", "/health"): lambda: self.answer(""),
            ("GET", "/version"): lambda: self.answer({"version": "0.33.0"}),
            ("GET", "/v1/models"): self.models,
            ("GET", "/metrics"): lambda: self.answer(self.metrics(), kind="text/plain; version=0.0.4; charset=utf-8"),
            ("POST", "/v1/chat/completions"): self.chat,
            ("GET", "/stand-in/running"): lambda: self.answer({"now": REQUESTS["running"], "cut": REQUESTS["cut"]}),
        }.get((self.command, path))
        if wanted is None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer({"detail": "Not Found"}, 404)
        else:
            wanted()

    do_GET = do_POST = do_DELETE = route  # noqa: N815 - http.server's names

    def models(self):
        said = self.server.said
        model = {
            "id": said.served_model_name or said.model,
            "object": "model",
            "created": 1755763200,
            "owned_by": "vllm",
            "root": said.model,
            "parent": None,
            "max_model_len": said.max_model_len,
        }
        self.answer({"object": "list", "data": [model]})

    def metrics(self):
        labels = f'engine="0",model_name="{self.server.said.served_model_name}"'
        return (
            "# HELP vllm:num_requests_running Number of requests in model execution batches.\n"
            "# TYPE vllm:num_requests_running gauge\n"
            f"vllm:num_requests_running{{{labels}}} {float(REQUESTS['running'])}\n"
            "# HELP vllm:num_requests_waiting Number of requests waiting to be processed.\n"
            "# TYPE vllm:num_requests_waiting gauge\n"
            f"vllm:num_requests_waiting{{{labels}}} {float(REQUESTS['waiting'])}\n"
            "# TYPE vllm:kv_cache_usage_perc gauge\n"
            f"vllm:kv_cache_usage_perc{{{labels}}} 0.25\n"
        )

    def chat(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        said = self.server.said
        if body.get("model") != (said.served_model_name or said.model):
            message = f"The model `{body.get('model')}` does not exist."
            self.answer({"error": {"message": message, "type": "NotFoundError", "param": "model", "code": 404}}, 404)
            return
        count = int(body.get("max_tokens") or 8)
        with self.turn():
            self.said_in(body, count)

    def turn(self):
        return Turn(self.server.room)

    def said_in(self, body, count):
        usage = {"prompt_tokens": 5, "total_tokens": 5 + count, "completion_tokens": count}
        base = {"id": "chatcmpl-1", "created": 1755763200, "model": body["model"]}
        if not body.get("stream"):
            text = "".join(word(number) for number in range(count))
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
            self.answer({**base, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunk = {**base, "object": "chat.completion.chunk"}
        self.event({**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for number in range(count):
            time.sleep(0.01)
            reason = "length" if number == count - 1 else None
            choice = {"index": 0, "delta": {"content": word(number)}, "finish_reason": reason}
            self.event({**chunk, "choices": [choice]})
        if (body.get("stream_options") or {}).get("include_usage"):
            self.event({**chunk, "choices": [], "usage": usage})
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data):
        raw = b"data: " + (data if isinstance(data, str) else json.dumps(data)).encode() + b"\n\n"
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")


def word(number):
    return WORDS[number % len(WORDS)] + " "


class Turn:
    """A place among those that are worked on, waited for."""

    def __init__(self, room):
        self.room = room

    def __enter__(self):
        self.count("waiting", 1)
        self.room.acquire()
        self.count("waiting", -1)
        self.count("running", 1)

    def __exit__(self, kind, *_):
        self.count("running", -1)
        self.count("cut", kind is not None)
        self.room.release()

    def count(self, name, by):
        with LOCK:
            REQUESTS[name] += by


class Server(ThreadingHTTPServer):
    request_queue_size = 2048
    daemon_threads = True


def serve(said):
    server = Server((said.host, said.port), Handler)
    server.said = said
    server.room = threading.Semaphore(said.max_num_seqs)
    server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:2] != ["serve"]:
        sys.exit("usage: vllm serve MODEL")
    serve(flags().parse_args(sys.argv[2:]))
