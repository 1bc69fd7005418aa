"""Twenty connections at once to an echo server, each with something else to say: ADDRESS PORT."""
import asyncio
import sys


async def talk(n):
    reader, writer = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    said = bytes(i * n % 251 for i in range(100_000))

    async def say():
        writer.write(said)
        await writer.drain()
        writer.write_eof()

    saying = asyncio.create_task(say())
    heard = await reader.read(-1)
    await saying
    writer.close()
    await writer.wait_closed()
    return heard == said


async def main():
    print(all(await asyncio.gather(*(talk(n) for n in range(1, 21)))))


asyncio.run(main())
