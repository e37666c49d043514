"""What is wrong with a host and its clients, and what to do about it. Facts in, findings out; pure."""
