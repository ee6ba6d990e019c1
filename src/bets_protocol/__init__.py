"""A typed binary protocol library for a lottery's bet intake.

Messages are frozen data (`Bet`, `BetBatch`, `Ack`, ...); `encode` and `decode` turn whole messages into bytes and
back; `ClientConnection` and `ServerConnection` are the protocol without sockets; `bets_protocol.transports` brings
the sockets. All that is raised on purpose is a `BetsError`.
"""

from __future__ import annotations

from bets_protocol import limits
from bets_protocol.codec import NEWEST_REVISION, decode, encode
from bets_protocol.codec.backend import CodecInfo, codec_info
from bets_protocol.connection.client import ClientConnection
from bets_protocol.connection.server import CLOSED, NEED_DATA, InvalidFrame, ServerConnection
from bets_protocol.connection.turns import CLIENT_REVISIONS, SERVER_REVISIONS
from bets_protocol.encoded import batches, decode_bets, documents_with_number, encode_bets, survey_runs
from bets_protocol.errors import (
    BadRow,
    BetsError,
    BetsRefused,
    ClientClosed,
    ConfigError,
    ConnectError,
    DecodeError,
    FrameTooLarge,
    GaveUp,
    InputError,
    InvalidMessage,
    InvalidValue,
    LocalProtocolError,
    NotDrawn,
    PeerClosed,
    ProtocolError,
    ReadError,
    RejectCode,
    RemoteProtocolError,
    SequenceError,
    SourceChanged,
    StorageError,
    TransportError,
    TransportTimeout,
    TruncatedFrame,
    UploadRefused,
    WriteError,
)
from bets_protocol.messages import (
    Ack,
    Bet,
    BetBatch,
    BetRun,
    EncodedBatch,
    Message,
    OpenUpload,
    Probe,
    UploadStatus,
    Winners,
    WinnersRequest,
)
from bets_protocol.version import __version__

__all__ = [
    "CLIENT_REVISIONS",
    "CLOSED",
    "NEED_DATA",
    "NEWEST_REVISION",
    "SERVER_REVISIONS",
    "Ack",
    "BadRow",
    "Bet",
    "BetBatch",
    "BetRun",
    "BetsError",
    "BetsRefused",
    "ClientClosed",
    "ClientConnection",
    "CodecInfo",
    "ConfigError",
    "ConnectError",
    "DecodeError",
    "EncodedBatch",
    "FrameTooLarge",
    "GaveUp",
    "InputError",
    "InvalidFrame",
    "InvalidMessage",
    "InvalidValue",
    "LocalProtocolError",
    "Message",
    "NotDrawn",
    "OpenUpload",
    "PeerClosed",
    "Probe",
    "ProtocolError",
    "ReadError",
    "RejectCode",
    "RemoteProtocolError",
    "SequenceError",
    "ServerConnection",
    "SourceChanged",
    "StorageError",
    "TransportError",
    "TransportTimeout",
    "TruncatedFrame",
    "UploadRefused",
    "UploadStatus",
    "Winners",
    "WinnersRequest",
    "WriteError",
    "__version__",
    "batches",
    "codec_info",
    "decode",
    "decode_bets",
    "documents_with_number",
    "encode",
    "encode_bets",
    "limits",
    "survey_runs",
]
