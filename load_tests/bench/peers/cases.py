"""What is asked of every proxy: requests of one kind, by people with tokens of their own."""

from collections.abc import Sequence

import msgspec

KIB = 1 << 10
MIB = 1 << 20


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """`body` bytes are sent, `answer` bytes come back; `count` requests a round."""

    name: str
    headline: str
    answer: int = 360
    body: int = 0
    count: int

    @property
    def path(self) -> str:
        return f"/orders/{self.answer}"

    def request(self, token: str) -> bytes:
        method = "POST" if self.body else "GET"
        length = f"Content-Length: {self.body}\r\n" if self.body else ""
        head = (
            f"{method} {self.path} HTTP/1.1\r\nHost: shop.example\r\nAccept: */*\r\nUser-Agent: bench\r\n"
            f"Authorization: Bearer {token}\r\n{length}\r\n"
        )
        return head.encode("ascii") + b"x" * self.body

    def requests(self, tokens: Sequence[str]) -> list[bytes]:
        return [self.request(token) for token in tokens]


CASES = (
    Case(name="small", headline="GET, 360 B back", count=15_000),
    Case(name="page", headline="GET, 16 KiB back", answer=16 * KIB, count=10_000),
    Case(name="form", headline="POST of 1 KiB, 360 B back", body=KIB, count=10_000),
    Case(name="upload", headline="POST of 1 MiB, 360 B back", body=MIB, count=300),
    Case(name="download", headline="GET, 1 MiB back", answer=MIB, count=300),
)
