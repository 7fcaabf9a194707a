"""Reads `message_received` from the stream EVENTS with a durable pull consumer, and acknowledges what it has read: the next run goes
on behind it. docs/events.md says what is in an event.

    NATS_URL=nats://... python read_events.py <name of the consumer> <how many>

Prints each event as a line of JSON: its subject, its message id, and the event itself.
"""

import asyncio
import json
import os
import sys

import nats

# An event is published within a second after its message was stored.
WAIT_S = 15


async def main(consumer: str, count: int) -> None:
    connection = await nats.connect(os.environ["NATS_URL"])
    events = connection.jetstream()
    subscription = await events.pull_subscribe("events.message_received.>", durable=consumer, stream="EVENTS")
    for _ in range(count):
        [message] = await subscription.fetch(1, timeout=WAIT_S)
        event = json.loads(message.data)
        print(json.dumps({"subject": message.subject, "messageId": message.headers["Nats-Msg-Id"], "event": event}))
        await message.ack_sync()
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
