"""What was done about an incident, when and by whom: written down before it is done, and never changed after."""
