"""The JSON API: parse, call one service, render."""
