"""A stock Faust app that counts the records of a topic one by one. Prints records, CPU and wall seconds.

Its environment names the cluster (BENCH_BOOTSTRAP), the topic (BENCH_TOPIC) and how many to count (BENCH_COUNT).
"""

from __future__ import annotations

import os
import time

import faust

WARM = 1000

app = faust.App(
    "bench-record-by-record",
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP']}",
    store="memory://",
    topic_disable_leader=True,
    web_enabled=False,
    value_serializer="raw",
    key_serializer="raw",
    consumer_auto_offset_reset="earliest",
)
topic = app.topic(os.environ["BENCH_TOPIC"], internal=False)
count = int(os.environ["BENCH_COUNT"])


@app.agent(topic)
async def reader(values: faust.StreamT[bytes]) -> None:
    """Read every value."""
    seen = 0
    began = time.process_time(), time.monotonic()
    async for value in values:
        seen += len(value) > 0
        if seen == WARM:
            began = time.process_time(), time.monotonic()
        if seen == count:
            words = f"\n{seen - WARM} {time.process_time() - began[0]} {time.monotonic() - began[1]}\n"
            os.write(1, words.encode())  # Faust makes log lines of what is printed
            os._exit(0)  # a stock worker takes seconds to stop, and nothing is to be kept
