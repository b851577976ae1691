"""The proxied path: a request comes in, is decided, goes to its service, and the answer comes back."""
