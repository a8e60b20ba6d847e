"""A server of its own: two ports, routes as TensorFlow Serving has them; answers with what it was given."""

import argparse
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers the readiness and the scoring route; the liveness route has a port of its own."""

    def do_GET(self) -> None:
        self._answer(200 if self.path in ("/v1/models/half", "/live") else 404, {})

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        base = os.environ.get("MODEL_BASE_PATH", "")
        files = (
            sorted(str(path.relative_to(base)) for path in Path(base).rglob("*") if path.is_file()) if base else []
        )
        path, _, query = self.path.partition("?")
        answer = {"sum": sum(sent["data"]), "files": files, "query": query}
        answer["log_level"] = os.environ.get("LOG_LEVEL")
        self._answer(200 if path == "/v1/models/half:predict" else 404, answer)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int)
parser.add_argument("--live", type=int)
arguments = parser.parse_args()
live = ThreadingHTTPServer(("127.0.0.1", arguments.live), Handler)
threading.Thread(target=live.serve_forever, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()
