"""What this machine has for glm-gguf, what is missing, and the commands that mend it; fit for a bug report.

The room itself needs nothing but Python. Whatever loads another package runs in a child process, whose end by a signal
or an exception is a fact like others.
"""
