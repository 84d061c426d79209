"""The command line's verbs as plain Python functions: one file a verb, each ties the folders before it together."""
