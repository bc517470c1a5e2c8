"""The design that llm-proxyd replaces, to measure beside it: a FastAPI
application that checks a token, counts its minute and passes on by httpx.

    reference.py FILE       with "PORT PORT-OF-THE-BACKEND TOKEN"
"""

import pathlib
import sys
import time

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

PORT, BACKEND, TOKEN = pathlib.Path(sys.argv[1]).read_text(
    encoding="ascii").split()
LIMIT = 1_000_000_000
app = FastAPI()
client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{BACKEND}",
                           limits=httpx.Limits(max_connections=2048))
used = {}


@app.post("/v1/chat/completions")
async def chat(request: Request):
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        return JSONResponse({"error": {"message": "Wrong key."}}, 401)
    window = (TOKEN, int(time.time()) // 60)
    used[window] = used.get(window, 0) + 1
    if used[window] > LIMIT:
        return JSONResponse({"error": {"message": "Too many."}}, 429)
    body = await request.json()
    if not body.get("stream"):
        answer = await client.post("/v1/chat/completions", json=body)
        return Response(answer.content, answer.status_code,
                        media_type="application/json")

    async def pieces():
        async with client.stream("POST", "/v1/chat/completions",
                                 json=body) as answer:
            async for piece in answer.aiter_raw():
                yield piece
    return StreamingResponse(pieces(), media_type="text/event-stream")


uvicorn.run(app, host="127.0.0.1", port=int(PORT), log_level="warning",
            access_log=False)
