"""`doctor`: look at a host from within and from outside, judge it, and put right what is safe to put right."""
