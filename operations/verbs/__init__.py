"""The verbs of `python -m operations`, by subject.

Each function here declares a verb's arguments and what runs it. What runs a verb imports only the modules that it uses:
`render` works without Docker, `status` without Pulumi.
"""
