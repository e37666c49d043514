"""What operators do with archives on hosts: make, list, verify, prune, restore, drill."""
