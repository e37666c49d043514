"""One function per command: load, observe, plan, apply, report."""
