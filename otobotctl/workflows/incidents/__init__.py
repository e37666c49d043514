"""`incident ...`: each act is written down before it is done on the live system, and how it ended after it."""
