"""The operator's command line: `python -m operations --help`."""
