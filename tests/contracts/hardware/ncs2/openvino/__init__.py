"""Plays OpenVINO 2021.4 where it is not installed: only what talks to a stick."""
