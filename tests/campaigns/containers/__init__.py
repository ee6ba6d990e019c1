"""The system in containers, as the users of Docker Compose start it: `nox -s compose`."""
