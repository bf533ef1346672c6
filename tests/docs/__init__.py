"""Tests of the documentation: every command, link, heading and file name in it exists and is used correctly."""
