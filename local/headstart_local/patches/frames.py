"""WebSocket frames: the limits of API Gateway, which hypercorn doesn't have."""

from collections.abc import Generator
from typing import Any

from hypercorn.protocol import ws_stream
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message
from wsproto.frame_protocol import CloseReason, Opcode, ParseFailed

from headstart_local.patches.context import PatchContext
from headstart_local.patches.websocket import MAX_MESSAGE_BYTES

MAX_FRAME_BYTES = 32 * 1024


class _LimitedConnection(Connection):
    """The server's side of a connection that takes no frame and no message above its limit."""

    def __init__(self) -> None:
        super().__init__(ConnectionType.SERVER, [])
        decoder: Any = self._proto._frame_decoder
        stock = decoder.parse_extended_payload_length

        def parse(opcode: Opcode, length: int) -> int | None:
            size: int | None = stock(opcode, length)
            if size is not None and size > MAX_FRAME_BYTES:
                raise ParseFailed("frame above 32 KB", CloseReason.MESSAGE_TOO_BIG)
            return size

        decoder.parse_extended_payload_length = parse
        self._message_bytes = 0

    def events(self) -> Generator[Event, None, None]:
        for event in super().events():
            checked = self._limited(event) if isinstance(event, Message) else event
            too_big = isinstance(checked, CloseConnection) and checked.code == 1009
            if too_big and self.state is ConnectionState.OPEN:
                # The state in which hypercorn answers with a close frame of the same code.
                self._state = ConnectionState.REMOTE_CLOSING
            yield checked
            if too_big:
                return

    def _limited(self, event: Message[Any]) -> Event:
        data = event.data
        self._message_bytes += len(data.encode() if isinstance(data, str) else data)
        if self._message_bytes > MAX_MESSAGE_BYTES:
            return CloseConnection(code=CloseReason.MESSAGE_TOO_BIG)
        if event.message_finished:
            self._message_bytes = 0
        return event


def frame_limit(context: PatchContext) -> None:
    """Close a connection with code 1009 that sends too much at once, and compress nothing.

    Frames have 32 KB and messages 128 KB at most, so longer messages have to come in several frames
    ("Amazon API Gateway quotas"). Extensions such as compression aren't negotiated.
    """
    stock = ws_stream.Handshake.accept

    def accept(handshake: ws_stream.Handshake, *arguments: Any) -> tuple[int, Any, Connection]:
        handshake.extensions = None
        status, headers, _ = stock(handshake, *arguments)
        return status, headers, _LimitedConnection()

    ws_stream.Handshake.accept = accept  # type: ignore[assignment,method-assign]
