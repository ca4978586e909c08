"""What fuzzing found, kept small."""

from tests.edge.wire import running


async def test_an_expectation_in_no_encoding_is_a_refusal() -> None:
    """Expect with a byte that is no text: 417, not a 500 from making the error's own text; 100-continue goes on."""
    head = b"POST /api/v1/refresh HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nContent-Length: 2\r\n"
    async with running() as world:
        answer = await world.raw(head + b"Expect: \xae\r\n\r\n{}")
        assert answer.split(b" ")[1] == b"417"
        answer = await world.raw(head + b"Expect: 100-Continue\r\n\r\n{}")
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")
        unmatched = head.replace(b"/api/v1/refresh", b"/nowhere")
        assert (await world.raw(unmatched + b"Expect: \xae\r\n\r\n{}")).split(b" ")[1] == b"417"
