"""One module a step kind: probe(params) answers a question, apply(params, run) makes it so."""
