"""Three companies' releases on the sandbox, each with its limits and what was measured."""
