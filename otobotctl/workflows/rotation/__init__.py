"""`secrets rotate`: new values for a client's secrets, in the live system and the store together."""
