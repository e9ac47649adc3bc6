"""Plays `powermetrics -f plist`: each line on the FIFO named last becomes a sample on stdout.

A line is JSON: the property list's top level, or {"raw": "..."} for bytes as they are, or
{"exit": status}. Samples are ended by a NUL byte, as the program does it.
"""

from __future__ import annotations

import json
import plistlib
import sys

with open(sys.argv[-1]) as lines:
    for line in lines:
        told = json.loads(line)
        if "exit" in told:
            sys.exit(told["exit"])
        data = told["raw"].encode("latin-1") if "raw" in told else plistlib.dumps(told)
        half = len(data) // 2  # a pipe keeps no message together
        for part in (data[:half], data[half:] + b"\0"):
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
