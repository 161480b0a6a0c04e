"""The steps of the pipeline, one small file each. Stages do not know each other; ``stack.py`` puts them in order."""
