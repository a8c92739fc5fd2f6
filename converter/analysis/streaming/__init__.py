"""How time flows through a program: what can be computed chunk by chunk, and what each op needs of the past."""
