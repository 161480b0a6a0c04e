"""The command line: signing in, looking around, serving. Nothing else in the project imports it."""
