"""The lab: throw-away Debian servers on one Linux machine, real enough for systemd, Docker, reboots and power cuts."""
