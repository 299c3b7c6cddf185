"""The rules. A module's name (with dashes) is the finding's public name; its docstring is what the user reads."""
