"""A release of a fraud model on the sandbox, and the same production to practise on."""
