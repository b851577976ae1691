"""`[access]` of a cell service's settings: who signs in, who signs, where tickets are, how many approvals it takes."""

from typing import Annotated

import msgspec
from msgspec import Meta

from cells.breakglass.door.settings import DoorSettings
from cells.breakglass.words import NEEDED_MAX, PAGES_MAX
from foundation.settings import SettingsError
from foundation.tokens import Issuer


class Tickets(msgspec.Struct, frozen=True, kw_only=True):
    """One of `file` (JSON, ticket → state) and `url` (asked as `<url>/<ticket>`); `token_file`: what the latter is shown."""

    file: str = ""
    url: str = ""
    token_file: str = ""


class AccessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`issuer`: the one that engineers sign in at; two would make two people of one. `on_call`: whose statements prove that somebody is on
    call; without it there are no emergencies. `authority_key`: mode 0600. `approvals`: how many it takes. `exception_keys`: files with the
    public keys of those who may sign exceptions, as logs' are. `pages`: environment variables that hold the URLs that emergencies are told
    to; `pages_signing_file`: keys that sign what goes there (`foundation.webhooks`). `rules`: a file of further rules in Cedar, which may
    only forbid. `logins`: database roles that may log in beside those of the shard's own settings, and are no person's. `door`: where
    certificates open rows; without it they open nothing."""

    issuer: Issuer
    authority_key: str
    authority_certificate: str
    tickets: Tickets
    on_call: Issuer | None = None
    approvals: Annotated[int, Meta(ge=1, le=NEEDED_MAX)] = 1
    exception_keys: tuple[str, ...] = ()
    pages: Annotated[tuple[str, ...], Meta(max_length=PAGES_MAX)] = ()
    pages_signing_file: str = ""
    rules: str = ""
    logins: tuple[str, ...] = ()
    door: DoorSettings | None = None

    def checked(self) -> "AccessSettings":
        """Itself. Raises SettingsError for what shapes alone do not tell."""
        if bool(self.tickets.file) == bool(self.tickets.url):
            raise SettingsError("access.tickets names a file or a url")
        if self.tickets.token_file and not self.tickets.url:
            raise SettingsError("access.tickets.token_file goes with url")
        if self.on_call is not None and self.on_call.audience == self.issuer.audience:
            raise SettingsError("access.on_call needs an audience of its own: a sign-in is no proof of being on call")
        return self
