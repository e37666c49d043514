"""Every door to a machine: OpenSSH, and the operator's own machine."""
