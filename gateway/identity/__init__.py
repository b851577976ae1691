"""Who asks, and from where: tokens, services that act for somebody, addresses, countries."""
